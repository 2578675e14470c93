"""Threads compared many at a time come out as each does by itself, however the log is cut into pages."""

from __future__ import annotations

from contextlib import aclosing
from random import Random

import pytest
from msgspec.structs import replace

from clew_events.subjects import Address
from clew_projections import places
from clew_projections.consistency.sweep import Sweep
from clew_projections.consistency.view_check import ViewComparison
from clew_projections.integrity import verify
from clew_projections.kv.key_names import page_key, thread_key
from clew_projections.views import decode_stored, encode
from clew_services.compose import Clew
from support.truth import buckets_equal_the_log, checkpointed, projecting
from support.writers import Writer, message_id

THREADS = [f"thread_{number:02}" for number in range(24)]


async def lives(clew: Clew) -> None:
    """Threads whose commits lie between those of the others, and which have messages."""
    chance, writer = Random(3), Writer(clew.handler)
    for thread in THREADS:
        await writer.create(thread, metadata={"plan": "free"})
    for _ in range(60):
        thread = chance.choice(THREADS[4:])
        added = message_id(await writer.add(thread, "hello"))
        if chance.random() < 0.3:
            await writer.change(thread, added, metadata={"a": "1"})
    await writer.delete(THREADS[5])


async def swept(clew: Clew, held: int, *, replicated: bool = False) -> dict[Address, ViewComparison]:
    side = clew.live.current
    comparing = clew.prover()._comparing
    sweep = Sweep(clew.js, side.threads, comparing, replicated=replicated, held=held)
    found: list[ViewComparison] = []
    for shard in range(clew.deployment.shards):
        async with aclosing(sweep.shard(shard)) as some:
            found += [each async for each in some]
    assert len(found) == len({each.address for each in found})
    return {each.address: each for each in found}


async def singly(clew: Clew) -> dict[Address, ViewComparison]:
    return {each: await clew.prover().thread(each) for each in (Address("default", thread) for thread in THREADS)}


@pytest.mark.parametrize(("page", "held"), [(3, 0), (5, 20_000), (512, 10**9)])
async def test_what_is_wrong_is_found_whatever_the_pages(
    clew: Clew, monkeypatch: pytest.MonkeyPatch, page: int, held: int
) -> None:
    monkeypatch.setattr(verify, "PAGE", page)
    monkeypatch.setattr(places, "PAGE", 1)
    await lives(clew)
    async with projecting(clew):
        await buckets_equal_the_log(clew)
        await checkpointed(clew)
    assert await swept(clew, held) == await swept(clew, held, replicated=True) == await singly(clew)
    # One wrong as it stands, one put back, one gone, one unreadable, one of another log, one page wrong, one gone.
    views = {}
    for thread in THREADS[6:12]:
        value = await clew.live.current.threads.get(thread_key(Address("default", thread)))
        assert value is not None
        views[thread] = value, decode_stored(value.body)
    changed = {
        THREADS[6]: lambda view: encode(replace(view, metadata={"plan": "gold"})),
        THREADS[7]: lambda view: encode(replace(view, n=view.n + 4)),
        THREADS[8]: lambda view: b"nonsense",
        THREADS[9]: lambda view: b"",
        THREADS[10]: lambda view: encode(replace(view, n=1)),
    }
    for thread, change in changed.items():
        value, view = views[thread]
        await clew.live.current.threads.put(thread_key(Address("default", thread)), change(view), value.revision)
    bucket = clew.live.current.threads
    with_messages = [thread for thread in THREADS[12:] if await bucket.get(f"default.{thread}.0")]
    for thread, body in zip(with_messages, (lambda each: encode(replace(each, added=(1,))), None), strict=False):
        key = page_key(Address("default", thread), 0)
        if body is None:
            await clew.js.api(f"STREAM.PURGE.{bucket.stream}", {"filter": bucket.subject(key)})
            continue
        stored = await bucket.get(key)
        assert stored is not None
        await bucket.put(key, body(places.decode_page(stored.body, 0)), stored.revision)
    found = await swept(clew, held)
    assert found == await singly(clew)
    wrong = {address.thread for address, each in found.items() if each.finding is not None}
    assert wrong == {*changed, *with_messages[:2]}


async def test_what_came_after_a_view_is_counted_on_whichever_page_it_is(
    clew: Clew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify, "PAGE", 4)
    await lives(clew)
    async with projecting(clew):
        await buckets_equal_the_log(clew)
        await checkpointed(clew)
    writer = Writer(clew.handler)
    for thread in THREADS[:3]:
        await writer.set(thread, "mood", "wild")
        await writer.set(thread, "mood", "calm")
    found = await swept(clew, 10**9)
    assert {address.thread: each.behind for address, each in found.items() if each.behind} == dict.fromkeys(
        THREADS[:3], 2
    )
    assert {each.finding for each in found.values()} == {None}
