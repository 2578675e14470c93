"""Views and a log that do not agree: what a crash took is told from what somebody did, and no answer hides either."""

from __future__ import annotations

import asyncio
import os
import signal
from functools import partial
from pathlib import Path

import msgspec
import pytest

from clew_events.commands import AddMessage, UpdateThread
from clew_events.errors import Corrupt
from clew_events.queries import GetThread
from clew_events.requests import MetadataPatch, NewMessage
from clew_events.subjects import Address
from clew_projections import places
from clew_projections.kv.key_names import page_key, thread_key
from clew_projections.views import decode_stored, encode
from clew_services.compose import Clew, connect
from support.deployments import deployed
from support.forging import bodies, delete, five_commits, flip, stored
from support.parts import verifier_of
from support.waiting import eventually

SHARDS = 2
VICTIM = Address("default", "thread_victim")
OTHER = Address("default", "thread_other")


async def project(clew: Clew) -> None:

    stop = asyncio.Event()
    projecting = asyncio.create_task(clew.project(stop))
    for shard in range(SHARDS):
        await eventually(partial(_idle, clew, shard))
    stop.set()
    await projecting


async def _idle(clew: Clew, shard: int) -> bool:
    state = await clew.generations.position(shard).state()
    return not state.num_pending and not state.num_ack_pending


async def drift(clew: Clew) -> dict[str, str]:
    return {each.address.thread: each.finding.what async for each in clew.prover().prove() if each.finding is not None}


async def test_one_byte_flipped_on_the_disk_does_not_go_unnoticed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with deployed(data, sync="always") as server:
        async with connect(server.url, name="test") as clew:
            await five_commits(clew, VICTIM)
            await project(clew)
            written = (await bodies(clew, VICTIM))[2]
        os.kill(server.pid, signal.SIGKILL)
        await server.wait()
        flip(data, written, written.index(b'"actor":"billing"') + 10)
        await server.start()
        async with connect(server.url, name="test") as clew:
            # The server checks its blocks as it starts, and drops the commit with all that stood behind it. What is
            # left is a history without an end, and the bucket knows that there was more.
            assert len(await bodies(clew, VICTIM)) == 2
            assert "the log" in (await drift(clew))[VICTIM.thread]
            with pytest.raises(Corrupt) as refused:
                await clew.handler.handle("default", UpdateThread(thread_id=VICTIM.thread, metadata={}))
            assert refused.value.code == "log_cut_off"


async def test_a_thread_whose_last_commits_are_gone_takes_no_more_until_somebody_has_decided(clew: Clew) -> None:
    await five_commits(clew, VICTIM)
    await project(clew)
    await delete(clew, VICTIM, *(each.seq for each in (await stored(clew, VICTIM))[3:]))
    update = UpdateThread(thread_id=VICTIM.thread, patch=MetadataPatch(set={"step": "9"}))
    with pytest.raises(Corrupt, match="commits were lost") as refused:
        await clew.handler.handle("default", update)
    assert refused.value.code == "log_cut_off"
    assert len(await bodies(clew, VICTIM)) == 3

    # Accepting the loss is deleting the view; every process goes on from what the log has.
    value = await clew.live.current.threads.get(thread_key(VICTIM))
    assert value is not None
    await clew.live.current.threads.delete(thread_key(VICTIM), value.revision)
    assert (await clew.handler.handle("default", update)).n == 4
    async with connect(clew.nc.connected_url.geturl(), name="another") as other:
        found = await other.reader.thread("default", GetThread(thread_id=VICTIM.thread))
    assert found.n == 4
    # The thread is whole as far as it goes; that something is gone from the shard is told for ever.
    assert [each.thread or each.code for each in (await verifier_of(clew).all()).findings] == ["removed"]


async def test_a_view_that_is_not_what_the_log_says_is_drift_and_a_lagging_one_is_not(
    clew: Clew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "PAGE", 1)
    await five_commits(clew, VICTIM)
    await five_commits(clew, OTHER)
    message = AddMessage(thread_id=VICTIM.thread, message=NewMessage(role="user", content="hello"))
    await clew.handler.handle("default", message)
    assert [each.behind async for each in clew.prover().prove(VICTIM)] == [6]
    await project(clew)
    assert await drift(clew) == {}

    # A newer commit that is not projected yet changes nothing about it.
    await clew.handler.handle("default", UpdateThread(thread_id=OTHER.thread, metadata={"plan": "paid"}))
    assert await drift(clew) == {}

    value = await clew.live.current.threads.get(thread_key(OTHER))
    assert value is not None
    view = decode_stored(value.body)
    forged = msgspec.structs.replace(view, metadata={**view.metadata, "plan": "gold"})
    await clew.live.current.threads.put(thread_key(OTHER), encode(forged), value.revision)
    assert set(await drift(clew)) == {OTHER.thread}
    assert "metadata" in (await drift(clew))[OTHER.thread]

    key = page_key(VICTIM, 0)
    value = await clew.live.current.threads.get(key)
    assert value is not None
    forged_page = msgspec.structs.replace(places.decode_page(value.body, 0), added=(1,))
    await clew.live.current.threads.put(key, encode(forged_page), value.revision)
    assert set(await drift(clew)) == {OTHER.thread, VICTIM.thread}
    assert "page 0 of its places: 'added'" in (await drift(clew))[VICTIM.thread]


async def test_a_page_that_is_gone_is_drift(clew: Clew, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "PAGE", 1)
    await five_commits(clew, VICTIM)
    message = AddMessage(thread_id=VICTIM.thread, message=NewMessage(role="user", content="hello"))
    await clew.handler.handle("default", message)
    await project(clew)
    threads = clew.live.current.threads
    await clew.js.api(f"STREAM.PURGE.{threads.stream}", {"filter": threads.subject(page_key(VICTIM, 0))})
    assert "does not have it" in (await drift(clew))[VICTIM.thread]
