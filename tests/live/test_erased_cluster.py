"""Three servers: what is erased is in no file of any of them but the Raft logs, by the user that may erase.

A server that was down meanwhile may keep it in blocks of the log, and the certificate says so.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL

import pytest

from clew_events.codec import decode
from clew_events.commands import AddMessage, CreateThread, EraseThread, UpdateThread
from clew_events.errors import NotFound, Unavailable
from clew_events.events import is_erased
from clew_events.ids import random_id
from clew_events.queries import GetThread
from clew_events.requests import MetadataPatch, NewMessage
from clew_events.subjects import ERASED_STREAM, Address, event_stream
from clew_projections.nats.stream_messages import ApiRefusal
from clew_services.compose import Clew, Connection, connect, connection
from clew_services.erasure.eraser import Budget, Eraser, Loss
from support.cluster import Cluster, leader_of, operating
from support.erasure_worker import worker
from support.markers import find_marker, new_marker
from support.truth import projecting
from support.waiting import eventually

THREAD = Address("default", "thread_erased")
MARKER = "marker-of-what-goes"


async def at_once(_: float) -> None: ...


def blocks_with(cluster: Cluster, word: str) -> list[Path]:
    blocks = [each for node in cluster.nodes.values() for each in node.folder.rglob("*.blk")]
    return [each for each in blocks if "/streams/CLEW_" in str(each) and word.encode() in each.read_bytes()]


async def test_every_replica_loses_what_is_erased_and_every_server_answers_with_the_rest(
    cluster: Cluster, clews: list[Clew]
) -> None:
    handle = clews[0].handler.handle
    messages = tuple(NewMessage(role="user", content=f"{MARKER} {each}") for each in range(3))
    await handle("default", CreateThread(thread_id=THREAD.thread, messages=messages), actor="shop")
    await handle("default", UpdateThread(thread_id=THREAD.thread, patch=MetadataPatch(set={"a": "b"})), actor="shop")
    first, last = await clews[0].histories.tail(THREAD, 0)
    await eventually(lambda: len({each.parts for each in blocks_with(cluster, MARKER)}) == 3)
    numbers = range(1, len(first.commit.events) + 1)
    async with connection(cluster.url(user="erasure"), name="erasure") as made:
        eraser = Eraser(made.js, Budget(sleep=at_once))
        for some in (numbers[:2], numbers):
            await eraser.erase([Loss(first.position, some)])
            for clew in clews:
                left, same = await clew.histories.tail(THREAD, 0)
                assert [is_erased(event) for event in left.commit.events] == [each in some for each in numbers]
                assert (left.hash, left.position, same) == (first.hash, first.position, last)
                (stored,) = await clew.js.at(event_stream(first.position.shard), [first.position.seq])
                assert stored is not None
                assert decode(stored.body) == left.commit
    await eventually(lambda: not blocks_with(cluster, MARKER))


def files_with(cluster: Cluster, marker: str) -> dict[int, list[str]]:
    """The files of each server that hold a marker, but for Raft logs."""
    return {
        number: [found for found in find_marker(node.folder, marker) if "/_js_/" not in found]
        for number, node in cluster.nodes.items()
    }


async def is_in_all_buckets(cluster: Cluster, marker: str) -> bool:
    found = await asyncio.to_thread(files_with, cluster, marker)
    return all(any("KV_clew_threads" in file for file in files) for files in found.values())


async def step_down(operator: Connection, stream: str) -> None:
    with suppress(ApiRefusal, Unavailable):
        await operator.js.api(f"STREAM.LEADER.STEPDOWN.{stream}")


async def test_a_server_that_was_killed_meanwhile_comes_back_and_answers_with_nothing_of_it(
    cluster: Cluster, clews: list[Clew]
) -> None:
    thread, marker = "thread_missed", new_marker()
    said = NewMessage(role="user", content=marker)
    shard = clews[0].histories.shard(Address("default", thread))
    log = event_stream(shard)
    async with operating(cluster) as operator:
        leader = cluster.number_of(await leader_of(operator, log))
    killed, other = (number for number in cluster.nodes if number != leader)
    clew, handle = clews[leader - 1], clews[leader - 1].handler.handle
    async with (
        projecting(clew),
        operating(cluster) as operator,
        connect(cluster.url(leader, other, user="erasure"), name="erasure") as erasing,
    ):
        await handle("default", CreateThread(thread_id=in_shard(clew, shard)))  # the erased commits are not the first
        await handle("default", CreateThread(thread_id=thread, metadata={marker: marker}, messages=(said, said)))
        await handle("default", AddMessage(thread_id=thread, message=said))
        await handle("default", UpdateThread(thread_id=thread, patch=MetadataPatch(set={"x": marker})))
        await eventually(lambda: is_in_all_buckets(cluster, marker))
        cluster.nodes[killed].stop(SIGKILL)
        erasure = (await handle("default", EraseThread(thread_id=thread))).erasure
        assert erasure is not None

        made = worker(erasing)

        async def status() -> str:
            with suppress(Unavailable):
                await made.step()
            found = await clew.erasure_records.find("default", erasure.id)
            assert found is not None
            return found.erasure.status

        leading = [log, ERASED_STREAM, log]

        async def waits_for_it() -> bool:
            """The buckets were made anew, and only the missing server is waited for; or they wait for it too."""
            found = await clew.erasure_records.find("default", erasure.id)
            assert found is not None
            assert found.erasure.status != "completed"
            return not await erasing.renewal().is_done(1) or "is down" in (found.erasure.fault or "")

        async def is_erased_without_it() -> bool:
            if leading:
                await step_down(operator, leading.pop())
            return await status() == "erased" and not leading and await waits_for_it()

        await eventually(is_erased_without_it)
        cluster.start(killed)
        await cluster.healthy()

        async def is_completed() -> bool:
            return await status() == "completed"

        await eventually(is_completed)
        with pytest.raises(NotFound):
            await clews[killed - 1].reader.thread("default", GetThread(thread_id=thread))
    certificate = await clew.erasure_records.certificate(erasure.id)
    assert certificate is not None
    for what in ("Raft logs", "blocks of the log of a server that was down meanwhile"):
        assert any(what in each for each in certificate.certificate.remains)

    async def is_nowhere_else() -> bool:
        found = await asyncio.to_thread(files_with, cluster, marker)
        found[killed] = [file for file in found[killed] if f"/streams/{log}/msgs/" not in file]
        assert not any(found.values()), found
        return True

    await eventually(is_nowhere_else)


def in_shard(clew: Clew, shard: int) -> str:
    """A new thread id in a shard."""
    while clew.histories.shard(Address("default", thread := random_id("thread_"))) != shard:
        pass
    return thread
