"""Nobody alters a history unnoticed: every way of doing it is named, with the place."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec
import pytest

from clew_events.commands import AddMessage, CreateThread, UpdateThread
from clew_events.errors import Corrupt
from clew_events.queries import GetThread
from clew_events.requests import MetadataPatch, NewMessage
from clew_events.subjects import Address, event_stream, event_subject, shard_of
from clew_projections.buckets.bucket import Bucket, checkpoint_key, message_key, thread_key
from clew_projections.finding import Finding
from clew_projections.views import encode
from clew_services.compose import Clew, connected
from support.auditing import audit
from support.deployments import deployed
from support.waiting import eventually

SHARDS = 2
VICTIM = Address("default", "thread_victim")
OTHER = Address("default", "thread_other")
Bodies = list[bytes]


async def history(clew: Clew, address: Address) -> None:
    """Five commits, each saying something that an attacker might want otherwise."""
    await clew.handler.handle(
        address.tenant, CreateThread(thread_id=address.thread, metadata={"plan": "free"}), actor="shop"
    )
    for step in range(4):
        patch = MetadataPatch(set={"step": str(step)})
        await clew.handler.handle(address.tenant, UpdateThread(thread_id=address.thread, patch=patch), actor="billing")


async def bodies(clew: Clew, address: Address) -> Bodies:
    stream = event_stream(shard_of(address.thread, SHARDS))
    stored, _ = await clew.js.after(stream, event_subject(shard_of(address.thread, SHARDS), address), 1)
    return [each.body for each in stored]


async def rewrite(clew: Clew, address: Address, forged: Bodies) -> None:
    """What somebody with all rights on the server can do: take a history away and put another in its place."""
    shard = shard_of(address.thread, SHARDS)
    subject = event_subject(shard, address)
    await clew.js.api(f"STREAM.PURGE.{event_stream(shard)}", {"filter": subject})
    for body in forged:
        ack = await clew.js.publish(subject, body)
        assert ack.error is None


async def findings(clew: Clew) -> dict[Address, Finding]:
    return {address: folded.finding async for address, folded in audit(clew).verify() if folded.finding is not None}


def altered(victim: Bodies, other: Bodies) -> Bodies:
    return [victim[0], victim[1], victim[2].replace(b'"actor":"billing"', b'"actor":"auditor"'), *victim[3:]]


def re_numbered(victim: Bodies, other: Bodies) -> Bodies:
    return [*victim[:3], victim[3].replace(b'"n":4', b'"n":7'), victim[4]]


def missing(victim: Bodies, other: Bodies) -> Bodies:
    return [*victim[:2], *victim[3:]]


def begins_later(victim: Bodies, other: Bodies) -> Bodies:
    return victim[1:]


def swapped(victim: Bodies, other: Bodies) -> Bodies:
    return [victim[0], victim[2], victim[1], *victim[3:]]


def inserted(victim: Bodies, other: Bodies) -> Bodies:
    return [*victim[:3], victim[2], *victim[3:]]


def transplanted(victim: Bodies, other: Bodies) -> Bodies:
    return [*victim[:3], other[3], *victim[4:]]


def taken_from_another_thread(victim: Bodies, other: Bodies) -> Bodies:
    return other


def garbage(victim: Bodies, other: Bodies) -> Bodies:
    return [*victim[:3], b"\x00 nothing of ours", *victim[3:]]


# The forgery, and the place in the forged history at which it shows.
FORGERIES = {
    altered: 3,
    re_numbered: 3,
    missing: 2,
    begins_later: 0,
    swapped: 1,
    inserted: 3,
    transplanted: 3,
    taken_from_another_thread: 0,
    garbage: 3,
}


@pytest.mark.parametrize(("forge", "shows_at"), FORGERIES.items(), ids=[each.__name__ for each in FORGERIES])
async def test_a_forged_history_is_named_with_the_first_commit_that_does_not_fit(
    clew: Clew, forge: Callable[[Bodies, Bodies], Bodies], shows_at: int
) -> None:
    await history(clew, VICTIM)
    await history(clew, OTHER)
    assert await findings(clew) == {}

    forged = forge(await bodies(clew, VICTIM), await bodies(clew, OTHER))
    await rewrite(clew, VICTIM, forged)

    found = await findings(clew)
    assert set(found) == {VICTIM}
    shard = shard_of(VICTIM.thread, SHARDS)
    stored, _ = await clew.js.after(event_stream(shard), event_subject(shard, VICTIM), 1)
    assert found[VICTIM].shard == shard
    assert found[VICTIM].seq == stored[shows_at].seq
    assert found[VICTIM].what


async def test_a_commit_deleted_from_the_stream_is_missed(clew: Clew) -> None:
    await history(clew, VICTIM)
    shard = shard_of(VICTIM.thread, SHARDS)
    stored, _ = await clew.js.after(event_stream(shard), event_subject(shard, VICTIM), 1)
    await clew.js.api(f"STREAM.MSG.DELETE.{event_stream(shard)}", {"seq": stored[2].seq})
    assert (await findings(clew))[VICTIM].seq == stored[3].seq


async def test_one_byte_flipped_on_the_disk_does_not_go_unnoticed(tmp_path: Path) -> None:
    data = tmp_path / "data"
    async with deployed(data, sync="always") as server:
        async with connected(server.url, name="test") as clew:
            await history(clew, VICTIM)
            await project(clew)
            written = (await bodies(clew, VICTIM))[2]
        os.kill(server.pid, signal.SIGKILL)
        await server.wait()
        _flip(data, written.index(b'"actor":"billing"') + 10, written)
        await server.start()
        async with connected(server.url, name="test") as clew:
            # The server checks its blocks as it starts, and drops the commit with all that stood behind it. What is
            # left is a history without an end, and the bucket knows that there was more.
            assert len(await bodies(clew, VICTIM)) == 2
            assert "the log" in (await drift(clew))[VICTIM.thread]
            with pytest.raises(Corrupt) as refused:
                await clew.handler.handle("default", UpdateThread(thread_id=VICTIM.thread, metadata={}))
            assert refused.value.code == "log_cut_off"


async def test_a_thread_whose_last_commits_are_gone_takes_no_more_until_somebody_has_decided(clew: Clew) -> None:
    await history(clew, VICTIM)
    shard = shard_of(VICTIM.thread, SHARDS)
    stored, _ = await clew.js.after(event_stream(shard), event_subject(shard, VICTIM), 1)
    await project(clew)
    for each in stored[3:]:
        await clew.js.api(f"STREAM.MSG.DELETE.{event_stream(shard)}", {"seq": each.seq})
    update = UpdateThread(thread_id=VICTIM.thread, patch=MetadataPatch(set={"step": "9"}))
    with pytest.raises(Corrupt, match="commits were lost") as refused:
        await clew.handler.handle("default", update)
    assert refused.value.code == "log_cut_off"
    assert len(await bodies(clew, VICTIM)) == 3

    # Accepting the loss is deleting the view; every process goes on from what the log has.
    value = await clew.threads.get(thread_key(VICTIM))
    assert value is not None
    await clew.threads.delete(thread_key(VICTIM), value.revision)
    assert (await clew.handler.handle("default", update)).n == 4
    async with connected(clew.nc.connected_url.geturl(), name="another") as other:
        found = await other.reader.thread("default", GetThread(thread_id=VICTIM.thread))
    assert found.n == 4
    assert await findings(clew) == {}


def _flip(data: Path, offset: int, written: bytes) -> None:
    for block in data.rglob("*.blk"):
        content = bytearray(block.read_bytes())
        at = content.find(written)
        if at >= 0:
            content[at + offset] ^= 1
            block.write_bytes(content)
            return
    pytest.fail("the commit is in no block of the store")


async def project(clew: Clew) -> None:

    stop = asyncio.Event()
    projecting = asyncio.create_task(clew.project(stop))
    for shard in range(SHARDS):
        await eventually(partial(_idle, clew, shard))
    stop.set()
    await projecting


async def _idle(clew: Clew, shard: int) -> bool:
    state = await clew.checkpoint(shard).state()
    return not state.num_pending and not state.num_ack_pending


async def drift(clew: Clew) -> dict[str, str]:
    return {each.address.thread: each.finding.what async for each in clew.prover().prove() if each.finding is not None}


async def test_a_view_that_is_not_what_the_log_says_is_drift_and_a_lagging_one_is_not(clew: Clew) -> None:
    await history(clew, VICTIM)
    await history(clew, OTHER)
    message = AddMessage(thread_id=VICTIM.thread, message=NewMessage(role="user", content="hello"))
    await clew.handler.handle("default", message)
    assert [each.behind async for each in clew.prover().prove(VICTIM)] == [6]
    await project(clew)
    assert await drift(clew) == {}

    # A newer commit that is not projected yet changes nothing about it.
    await clew.handler.handle("default", UpdateThread(thread_id=OTHER.thread, metadata={"plan": "paid"}))
    assert await drift(clew) == {}

    value = await clew.threads.get(thread_key(OTHER))
    assert value is not None
    view = await clew.current.projected(OTHER)
    forged = msgspec.structs.replace(view, metadata={**view.metadata, "plan": "gold"})
    await clew.threads.put(thread_key(OTHER), encode(forged), value.revision)
    assert set(await drift(clew)) == {OTHER.thread}
    assert "metadata" in (await drift(clew))[OTHER.thread]

    key = message_key(VICTIM, 1)
    value = await clew.messages.get(key)
    assert value is not None
    await clew.messages.put(key, value.body.replace(b"hello", b"HELLO"), value.revision)
    assert set(await drift(clew)) == {OTHER.thread, VICTIM.thread}
    assert "content" in (await drift(clew))[VICTIM.thread]


async def _a_message(clew: Clew) -> None:
    await history(clew, VICTIM)
    message = AddMessage(thread_id=VICTIM.thread, message=NewMessage(role="user", content="hello"))
    await clew.handler.handle("default", message)
    await project(clew)


async def _lose(clew: Clew, bucket: Bucket, key: str) -> None:
    # As a crash does: nothing is left, not even a marker.
    await clew.js.api(f"STREAM.PURGE.{bucket.stream}", {"filter": bucket.subject(key)})


async def test_a_message_view_that_is_gone_is_drift(clew: Clew) -> None:
    await _a_message(clew)
    shard = shard_of(VICTIM.thread, SHARDS)
    await clew.checkpoint(shard).advance(0, reached=sys.maxsize)
    await _lose(clew, clew.messages, message_key(VICTIM, 1))
    assert "no view" in (await drift(clew))[VICTIM.thread]


async def test_a_message_view_that_a_crash_took_with_the_checkpoint_is_about_to_be_written_again(clew: Clew) -> None:
    await _a_message(clew)
    shard = shard_of(VICTIM.thread, SHARDS)
    await _lose(clew, clew.messages, message_key(VICTIM, 1))
    await _lose(clew, clew.messages, checkpoint_key(shard))

    async with connected(clew.nc.connected_url.geturl(), name="after the crash") as other:
        assert await drift(other) == {}
        await project(other)
        assert (await other.messages.get(message_key(VICTIM, 1))) is not None
        assert await drift(other) == {}
