"""Reads of the feed: shards merged into one order, from any cursor, within the limits of a page."""

from __future__ import annotations

import asyncio
import heapq
from bisect import bisect_right
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from itertools import chain
from operator import attrgetter
from typing import Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from clew_events.errors import Invalid
from clew_events.queries import GetFeed
from clew_events.subjects import event_stream, shard_of
from clew_projections.feed import cursor as cursors
from clew_projections.feed.cursor import Cursor, Mark
from clew_projections.feed.entry import FeedCommit, FeedFilter, redact
from clew_projections.feed.shard_readers import MOST, BackwardReader, ForwardReader
from clew_projections.history.log_reads import LogReads
from clew_projections.nats.jetstream import stream_state
from clew_projections.page_size import PageBytes, PageSize, default_page_bytes

SCANNED: Final = 10_000
"""The most commits that one page scans for matches."""
AROUND_COMMIT: Final = 512
"""Bytes that a commit counts for besides its body: its cursor, its hash, its time, its place."""

_STORED_AT: Final = attrgetter("stored_at")
_PLACE: Final = attrgetter("stored_at", "shard", "seq")


class FeedPage(Struct, frozen=True):
    """A page: commits, each with the cursor after it, and the cursor after the last commit scanned.

    With ``more`` the log has further commits, which need not match.
    """

    items: tuple[tuple[FeedCommit, Cursor], ...]
    next: Cursor
    more: bool


class _End(NamedTuple):
    """The subjects to read in a shard, and the last commit there when reading began, from the stream's leader."""

    subject: str
    goal: int
    body: bytes


class Feed:
    """Reads the commits of a tenant over all shards in the order in which the log stored them.

    The order is by time of storing, then shard, then sequence. On one server it never changes: no later commit comes
    before one that a reader has received, and a page from a cursor always begins with the same commit. Where several
    servers lead shards, it holds as far as their clocks agree: a commit that a slower clock dates back comes later than
    its time says, and still exactly once.
    """

    def __init__(self, js: LogReads, shards: int, page_bytes: PageBytes = default_page_bytes) -> None:
        self._js = js
        self._page_bytes = page_bytes
        self.shards = shards

    async def page(self, tenant: str, query: GetFeed) -> FeedPage:
        """Read a page: at most ``limit`` commits, fewer if many were scanned or if they are long.

        Raises:
            Invalid: the cursor is of another feed, or the filter is not valid.
            Unavailable: the log does not answer.
        """
        await self._js.refresh()
        wanted = FeedFilter(query)
        ends = await self._ends(tenant, wanted)
        start = await self._start(tenant, query, wanted, ends)
        if query.after == cursors.LATEST:
            return FeedPage((), start, more=False)
        await self.check_same_log(start)
        chunk = query.limit // len(ends) + 2
        readers: list[ForwardReader] | list[BackwardReader] = (
            [
                ForwardReader(self._js, at, end.subject, start.seqs[at], end.goal, chunk=chunk)
                for at, end in ends.items()
            ]
            if query.order == "asc"
            else [
                BackwardReader(self._js, at, end.subject, start.seqs[at], end.goal, chunk=chunk)
                for at, end in ends.items()
            ]
        )
        items: list[tuple[FeedCommit, Cursor]] = []
        cursor, size, scanned = start, PageSize(self._page_bytes()), 0
        async for batch in merge_shards(readers, backwards=query.order == "desc"):
            for place, fed in enumerate(batch, start=1):
                if wanted.is_past(fed):
                    return FeedPage(tuple(items), cursor, more=False)
                matches = wanted.matches(fed)
                if matches and not size.take(_size_of(fed)):
                    return FeedPage(tuple(items), cursor, more=True)
                cursor = advance_cursor(cursor, fed)
                scanned += 1
                if matches:
                    items.append((fed, cursor))
                if len(items) == query.limit or scanned == SCANNED:
                    more = place < len(batch) or any(reader.has_more for reader in readers)
                    return FeedPage(tuple(items), cursor, more=more)
        return FeedPage(tuple(items), cursor, more=False)

    async def read_until(
        self, tenant: str, query: GetFeed, start: Cursor, seqs: Sequence[int]
    ) -> AsyncGenerator[list[FeedCommit]]:
        """Yield every commit after a cursor up to a sequence of each shard, matching or not, some at a time.

        Pages are read ahead.

        Raises:
            Unavailable: the log does not answer.
        """
        ends = await self._ends(tenant, FeedFilter(query))
        readers = [
            ForwardReader(
                self._js, at, end.subject, start.seqs[at], min(end.goal, seqs[at]), chunk=MOST, limit=seqs[at]
            )
            for at, end in ends.items()
        ]
        try:
            async for batch in merge_shards(readers, backwards=False):
                yield batch
        finally:
            await asyncio.gather(*(reader.close() for reader in readers))

    def redact(self, fed: FeedCommit, tenant: str) -> FeedCommit:
        """Return a commit that was read a while ago without the contents whose erasure was requested since."""
        return redact(fed, tenant, self._js)

    async def start(self, tenant: str, query: GetFeed) -> Cursor:
        """Return the cursor at which a reader begins.

        Raises:
            Invalid: the cursor is of another feed, or the log is not the one it was given for.
        """
        await self._js.refresh()
        wanted = FeedFilter(query)
        start = await self._start(tenant, query, wanted, await self._ends(tenant, wanted))
        await self.check_same_log(start)
        return start

    async def _ends(self, tenant: str, wanted: FeedFilter) -> dict[int, _End]:
        shards = range(self.shards) if wanted.thread is None else (shard_of(wanted.thread, self.shards),)
        subjects = {shard: wanted.subject(shard, tenant) for shard in shards}
        newest = await asyncio.gather(
            *(self._js.newest_at_leader(event_stream(shard), subject, 0) for shard, subject in subjects.items())
        )
        return {
            shard: _End(subject, last.seq if last is not None else 0, last.body if last is not None else b"")
            for (shard, subject), last in zip(subjects.items(), newest, strict=True)
        }

    async def _start(self, tenant: str, query: GetFeed, wanted: FeedFilter, ends: Mapping[int, _End]) -> Cursor:
        asc = query.order == "asc"
        if query.after is not None and query.after != cursors.LATEST:
            start = cursors.decode_cursor(query.after, tenant, self.shards, query.order)
        elif asc and query.after is None:
            start = cursors.first_cursor(self.shards)
        else:
            # Only relevant shards are read, so the cursor must not depend on the others.
            last = tuple(ends[shard].goal if shard in ends else 0 for shard in range(self.shards))
            if not asc:
                start = Cursor(tuple(seq + 1 for seq in last), query.order)
            else:
                shard, end = max(ends.items(), key=lambda each: each[1].goal)
                mark = Mark(shard, cursors.mark_of(end.body)) if end.goal else None
                start = Cursor(last, query.order, mark)
        edge = wanted.since if asc else wanted.until
        if edge is None or query.after == cursors.LATEST:
            return start
        micros = edge + (0 if asc else 1)
        first = await asyncio.gather(
            *(self._js.first_since(event_stream(shard), end.subject, micros) for shard, end in ends.items())
        )
        seqs = list(start.seqs)
        for (shard, end), found in zip(ends.items(), first, strict=True):
            if asc:
                seqs[shard] = max(seqs[shard], found.seq - 1 if found is not None else end.goal)
            elif found is not None:
                seqs[shard] = min(seqs[shard], found.seq)
        return replace(start, seqs=tuple(seqs))

    async def check_same_log(self, start: Cursor) -> None:
        """Check that the log is the one for which a cursor was made.

        Raises:
            Invalid: the last commit that the cursor passed is different now, or gone with all after it.
        """
        if start.mark is None:
            return
        shard, seq = start.mark.shard, start.seqs[start.mark.shard]
        (stored,) = await self._js.at(event_stream(shard), (seq,))
        if stored is None:
            # Either it was erased, or the log is shorter than it was.
            gone = (await stream_state(self._js, event_stream(shard))).last_seq < seq
        else:
            gone = cursors.mark_of(stored.body) != start.mark.hash
        if gone:
            raise Invalid(
                f"Invalid 'after': the log has another commit, or none, at sequence {seq} of shard {shard}, which this "
                "cursor has passed. It is of another deployment, or the log was restored from a backup or altered: "
                "find out which, and start again without 'after'.",
                code="cursor_of_another_log",
                param="after",
            )


def _size_of(fed: FeedCommit) -> int:
    """Return the bytes of a commit in a page; an unreadable one is shown in base64."""
    return AROUND_COMMIT + (len(fed.body) if fed.fault is None else len(fed.body) * 4 // 3)


def advance_cursor(cursor: Cursor, fed: FeedCommit) -> Cursor:
    """Return the cursor after one more commit."""
    seqs = (*cursor.seqs[: fed.shard], fed.seq, *cursor.seqs[fed.shard + 1 :])
    return Cursor(seqs, cursor.order, Mark(fed.shard, fed.hash[: cursors.MARK]))


async def merge_shards(
    readers: Sequence[ForwardReader] | Sequence[BackwardReader], *, backwards: bool
) -> AsyncIterator[list[FeedCommit]]:
    """Yield the shards' commits in the order of the feed, until all that existed when reading began are read.

    A batch ends where the next commit of a shard has to be read.
    """
    while any(reader.has_more for reader in readers):
        if empty := [reader for reader in readers if reader.needs_fill]:
            await asyncio.gather(*(reader.fill() for reader in empty))
        full = [reader for reader in readers if reader.buffer]
        if not full:
            return
        if all(reader.ordered for reader in full):
            batch, counts = _take_sorted([reader.buffer for reader in full], backwards=backwards)
        else:
            batch, counts = _take_merged([reader.buffer for reader in full], backwards=backwards)
        for reader, count in zip(full, counts, strict=True):
            if count:
                reader.take(count)
        yield batch


def _take_sorted(buffers: Sequence[list[FeedCommit]], *, backwards: bool) -> tuple[list[FeedCommit], list[int]]:
    """Return what comes before all that is not read yet, and how much of each buffer that is, by sorting.

    Sorting keeps commits of the same time in the order in which they are given.
    """
    sign = -1 if backwards else 1

    def place(fed: FeedCommit) -> tuple[int, int]:
        return sign * fed.stored_at, sign * fed.shard

    end = min(place(buffer[-1]) for buffer in buffers)
    counts = [bisect_right(buffer, end, key=place) for buffer in buffers]
    parts = [buffer[:count] for buffer, count in zip(buffers, counts, strict=True) if count]
    parts.sort(key=lambda part: sign * part[0].shard)
    batch = list(chain.from_iterable(parts))
    batch.sort(key=_STORED_AT, reverse=backwards)
    return batch, counts


def _take_merged(buffers: Sequence[list[FeedCommit]], *, backwards: bool) -> tuple[list[FeedCommit], list[int]]:
    """Return the same commit by commit, for shards in which a clock went back: the earliest of those next in theirs."""
    ends = {id(buffer[-1]) for buffer in buffers}
    batch: list[FeedCommit] = []
    for fed in heapq.merge(*buffers, key=_PLACE, reverse=backwards):
        batch.append(fed)
        if id(fed) in ends:
            break
    return batch, [sum(fed.shard == buffer[0].shard for fed in batch) for buffer in buffers]
