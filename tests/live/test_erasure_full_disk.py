"""A disk that fills up in the middle of an erasure: nothing is half done, and it goes on once there is room."""

from __future__ import annotations

from contextlib import suppress

import pytest

from clew_events.commands import AddMessage, CreateThread, EraseThread
from clew_events.errors import Unavailable
from clew_events.events import ErasedItemEvent, ErasedThreadEvent, ErasureRequested, ThreadDeleted
from clew_events.queries import GetHistory
from clew_events.requests import NewMessage
from clew_services.compose import Clew, connect
from clew_services.embedded.server import EmbeddedServer
from support.erasure_worker import worker
from support.markers import find_marker, new_marker
from support.small_disk import SmallDisk
from support.waiting import eventually

THREAD = "thread_full"


async def shown(clew: Clew) -> list[type]:
    history = await clew.reader.history("default", GetHistory(thread_id=THREAD))
    assert not history.missing
    return [type(event) for entry in history.commits for event in entry.commit.events]


@pytest.mark.parametrize("call", [1, 10, 14, 20, 26])
async def test_an_erasure_waits_while_the_disk_is_full(
    disk: SmallDisk, disk_deployment: EmbeddedServer, call: int
) -> None:
    marker, full = new_marker(), True

    def fill(number: int) -> None:
        if number >= call and full:
            disk.fill()

    async with connect(disk_deployment.url, name="test") as clew:
        said = NewMessage(role="user", content=marker)
        await clew.handler.handle("default", CreateThread(thread_id=THREAD, metadata={"x": marker}))
        for _ in range(3):
            await clew.handler.handle("default", AddMessage(thread_id=THREAD, message=said))
        erasure = (await clew.handler.handle("default", EraseThread(thread_id=THREAD))).erasure
        assert erasure is not None
        made = worker(clew, befall=fill)

        async def step_until_completed() -> bool:
            while await made.step():
                pass
            return True

        with pytest.raises(Unavailable) as fault:
            await step_until_completed()
        assert fault.value.code in {"not_deleted", "not_overwritten", "timeout", "record_refused"}
        found = await clew.erasure_records.find("default", erasure.id)
        assert found is not None
        assert found.erasure.status in {"requested", "erased"}
        gone = [ErasedThreadEvent, ErasedItemEvent, ErasedItemEvent, ErasedItemEvent]
        assert await shown(clew) == [*gone, ThreadDeleted, ErasureRequested]

        full = False
        with suppress(FileNotFoundError):
            disk.relieve()
        disk_deployment.kill()  # it writes no more to a stream that met a full disk
        await disk_deployment.wait()
        await disk_deployment.start()

        async def is_completed() -> bool:
            with suppress(Unavailable):
                return await step_until_completed()
            return False

        await eventually(is_completed)
        assert (await shown(clew))[:4] == gone
        done = await clew.erasure_records.find("default", erasure.id)
        assert done is not None
        assert (done.erasure.status, done.erasure.fault) == ("completed", None)
        certificate = await clew.erasure_records.certificate(erasure.id)
        assert certificate is not None
        left = [each for each in certificate.certificate.remains if "not overwritten" in each]
        assert left == [*done.erasure.left]
    assert bool(find_marker(disk.path / "data", marker)) == bool(left)
