"""The last message of a shard was removed: whoever follows the log finishes without it, and the loss is named."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from clew_events.queries import GetFeed
from clew_events.subjects import Address, event_stream, shard_of
from clew_projections.indexer.freshness import freshness
from clew_projections.nats.jetstream import stream_state
from clew_services.compose import Clew
from support.forging import delete
from support.indexes import caught_up, created, fed, names

KEPT, GONE = names(10), "thread_at_the_end"


async def cut(clew: Clew) -> int:
    """Remove the last message of a shard; the sequence at which it stood."""
    await created(clew, *KEPT)
    await created(clew, GONE)
    shard = shard_of(GONE, clew.deployment.shards)
    last = (await stream_state(clew.js, event_stream(shard))).last_seq
    await delete(clew, Address("default", GONE), last)
    assert (await stream_state(clew.js, event_stream(shard))).last_seq == last
    return last


async def test_an_index_made_anew_is_finished_and_the_loss_is_named(
    clew: Clew, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    last = await cut(clew)
    root = tmp_path / "index"
    async with fed(clew, root):
        assert set(await caught_up(clew, root)) == set(KEPT)
        fresh = await freshness(clew.js, clew.deployment.shards, clew.index_in(root))
        assert (fresh.ready, fresh.behind) == (True, 0)
        assert f"ends at sequence {last} and holds nothing after {last - 1}" in caplog.text
        assert caplog.text.count("commits were removed, and not by an erasure") == 1
        # What comes then comes as ever, and the index that was left is taken up again.
        await created(clew, "thread_after")
        assert set(await caught_up(clew, root)) == {*KEPT, "thread_after"}
    async with fed(clew, root):
        assert set(await caught_up(clew, root)) == {*KEPT, "thread_after"}
    assert clew.index_in(root).generations() == [1]


async def test_an_index_that_ends_where_nothing_stands_is_gone_on_with(clew: Clew, tmp_path: Path) -> None:
    await cut(clew)
    root = tmp_path / "index"
    async with fed(clew, root):
        await caught_up(clew, root)
    async with fed(clew, root) as feeder:
        await created(clew, "thread_after")
        assert set(await caught_up(clew, root)) == {*KEPT, "thread_after"}
    assert clew.index_in(root).generations() == [1]
    assert feeder.taken == 1


async def test_a_rebuild_of_the_index_is_finished(clew: Clew, tmp_path: Path) -> None:
    await cut(clew)
    rebuilt = await asyncio.wait_for(clew.index_rebuild(tmp_path / "index", lambda _: None).run(), 30)
    assert (rebuilt.live, rebuilt.threads) == (True, len(KEPT))


async def test_a_rebuild_of_the_buckets_and_the_feed_are_finished(clew: Clew) -> None:
    await cut(clew)
    rebuilt = await asyncio.wait_for(clew.rebuild().run(), 30)
    assert (rebuilt.live, rebuilt.threads) == (True, len(KEPT))
    for order in ("asc", "desc"):
        page = await clew.feed.page("default", GetFeed(order=order, limit=100))
        assert {found.thread for found, _ in page.items} == set(KEPT)
        assert not page.more
