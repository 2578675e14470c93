"""The order of the feed: shards merged by their next commits, whatever pages they come in and whatever clocks said."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from clew_events.subjects import Address, event_subject
from clew_projections.feed.merge import merge_shards
from clew_projections.feed.shard_readers import ForwardReader
from clew_projections.history.log_reads import LogReads
from clew_projections.nats.stream_messages import STORED_AT, StoredMessage

BEGINNING = datetime(2026, 11, 29, tzinfo=UTC)
# Seconds at which a shard's commits were stored, in the order of the log. A new leader's clock may be behind.
SHARDS = st.lists(st.lists(st.integers(0, 20), max_size=12), min_size=1, max_size=4)


class Paged(ForwardReader):
    """Reads a shard that is in memory."""

    def __init__(self, shard: int, times: list[int], chunk: int) -> None:
        self.stored = [
            StoredMessage(
                seq,
                event_subject(shard, Address("acme", "thread_a")),
                b"not a commit",
                {STORED_AT: (BEGINNING + timedelta(seconds=second)).strftime("%Y-%m-%dT%H:%M:%SZ")},
            )
            for seq, second in enumerate(times, start=1)
        ]
        super().__init__(cast("LogReads", None), shard, "", 0, len(times), chunk=chunk)

    async def _next(self) -> list[StoredMessage]:
        return self.stored[self._read : self._read + self._chunk]


@given(SHARDS, st.lists(st.integers(1, 5), min_size=4, max_size=4))
def test_the_next_commit_is_the_earliest_of_those_that_are_next_in_their_shards(
    shards: list[list[int]], chunks: list[int]
) -> None:
    async def merged() -> list[tuple[int, int]]:
        readers = [Paged(shard, times, chunks[shard]) for shard, times in enumerate(shards)]
        return [(fed.shard, fed.seq) async for batch in merge_shards(readers, backwards=False) for fed in batch]

    left = [list(enumerate(times, start=1)) for times in shards]
    expected: list[tuple[int, int]] = []
    while any(left):
        _, shard = min((rest[0][1], shard) for shard, rest in enumerate(left) if rest)
        expected.append((shard, left[shard].pop(0)[0]))
    assert asyncio.run(merged()) == expected


class Mixed(ForwardReader):
    """Reads what one of two tenants has in a shard that is in memory, up to a sequence."""

    def __init__(self, tenants: list[str], chunk: int, limit: int) -> None:
        self.stored = [
            StoredMessage(seq, event_subject(0, Address(tenant, "thread_a")), b"", {STORED_AT: "2026-11-29T00:00:00Z"})
            for seq, tenant in enumerate(tenants, start=1)
        ]
        own = [seq for seq, tenant in enumerate(tenants, start=1) if tenant == "a"]
        goal = min(max(own, default=0), limit)
        super().__init__(cast("LogReads", None), 0, "clew.evt.00.a.*", 0, goal, chunk=chunk, limit=limit)

    async def _next(self) -> list[StoredMessage]:
        rest = self.stored[self._read :]
        return [stored for stored in rest if self._dense or ".a." in stored.subject][: self._chunk]


@given(
    st.lists(st.sampled_from(["a", "a", "a", "b"]) | st.sampled_from("b"), max_size=40), st.integers(1, 5), st.data()
)
def test_a_tenant_reads_its_own_commits_wherever_it_has_most_of_a_shard_and_where_it_has_few(
    tenants: list[str], chunk: int, data: st.DataObject
) -> None:
    limit = data.draw(st.integers(0, len(tenants)))

    async def read() -> list[int]:
        reader = Mixed(tenants, chunk, limit)
        try:
            return [fed.seq async for batch in merge_shards([reader], backwards=False) for fed in batch]
        finally:
            await reader.close()

    own = [seq for seq, tenant in enumerate(tenants, start=1) if tenant == "a" and seq <= limit]
    assert asyncio.run(read()) == own
