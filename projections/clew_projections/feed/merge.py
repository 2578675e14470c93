"""The feed read: shards merged into one order, from any cursor, within limits for one answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from typing import Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from clew_events.errors import Invalid
from clew_events.queries import GetFeed
from clew_events.subjects import event_stream, shard_of
from clew_projections.feed import cursor as cursors
from clew_projections.feed.cursor import Cursor, Mark
from clew_projections.feed.entry import FeedCommit, FeedFilter
from clew_projections.feed.shard_readers import MOST, BackwardReader, ForwardReader
from clew_projections.nats.jetstream import JetStream, stream_state

SCANNED: Final = 10_000
"""Commits that one page looks at, at most, for those that are wanted."""
PAGE_BYTES: Final = 4 * 1024 * 1024
"""Where a page ends that would have more bytes of commits; it has one at least."""


class FeedPage(Struct, frozen=True):
    """Some of the feed: commits, each with the cursor after it, and the cursor after all that was looked at.

    With ``more`` there was more in the log; it need not be wanted.
    """

    items: tuple[tuple[FeedCommit, Cursor], ...]
    next: Cursor
    more: bool


class _End(NamedTuple):
    """Of a shard, the subjects to read, and the last commit there when reading began, as the stream's leader has it."""

    subject: str
    goal: int
    body: bytes


class Feed:
    """Reads the commits of a tenant over all shards in the order in which the log took them.

    That order is by time of storing, then shard, then sequence. On one server it is the same for ever: nothing that is
    stored later comes before something a reader has been given, and a page from a cursor always begins with what it
    began with before. Where shards are led by several servers it holds as far as their clocks agree: a commit that a
    slower clock dates back comes later than its time says, but it comes, once.
    """

    def __init__(self, js: JetStream, shards: int) -> None:
        self._js = js
        self.shards = shards

    async def page(self, tenant: str, query: GetFeed) -> FeedPage:
        """A page: at most ``limit`` commits, or fewer where many had to be looked at to find them.

        Raises:
            Invalid: a cursor of another feed, or a filter that means nothing.
            Unavailable: the log does not answer.
        """
        wanted = FeedFilter(query)
        ends = await self._ends(tenant, wanted)
        start = await self._start(tenant, query, wanted, ends)
        if query.after == cursors.LATEST:
            return FeedPage((), start, more=False)
        await self.hold_same_log(start)
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
        cursor, size, scanned = start, 0, 0
        async for found in merge_shards(readers, backwards=query.order == "desc"):
            if wanted.over(found):
                return FeedPage(tuple(items), cursor, more=False)
            if items and (size := size + len(found.body)) > PAGE_BYTES:
                break
            cursor = advance_cursor(cursor, found)
            scanned += 1
            if wanted.holds(found):
                items.append((found, cursor))
            if len(items) == query.limit or scanned == SCANNED:
                return FeedPage(tuple(items), cursor, more=any(reader.left for reader in readers))
        else:
            return FeedPage(tuple(items), cursor, more=False)
        return FeedPage(tuple(items), cursor, more=True)

    async def up_to(
        self, tenant: str, query: GetFeed, start: Cursor, seqs: Sequence[int]
    ) -> AsyncGenerator[FeedCommit]:
        """Every commit after a cursor up to the given sequence of each shard, wanted or not, read ahead of its taking.

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
            async for found in merge_shards(readers, backwards=False):
                yield found
        finally:
            await asyncio.gather(*(reader.close() for reader in readers))

    async def start(self, tenant: str, query: GetFeed) -> Cursor:
        """Where a reader begins.

        Raises:
            Invalid: the cursor is of another feed, or the log is not the one it was given for.
        """
        wanted = FeedFilter(query)
        start = await self._start(tenant, query, wanted, await self._ends(tenant, wanted))
        await self.hold_same_log(start)
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
            # No shard but those that matter is read, so what the cursor says of the others must not matter either.
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

    async def hold_same_log(self, start: Cursor) -> None:
        """Hold that the log is the one in which a cursor was.

        Raises:
            Invalid: the commit that the cursor passed last is another one now, or gone with all that followed.
        """
        if start.mark is None:
            return
        shard, seq = start.mark.shard, start.seqs[start.mark.shard]
        (found,) = await self._js.at(event_stream(shard), (seq,))
        if found is None:
            # Was it erased, or is the log shorter than it was?
            gone = (await stream_state(self._js, event_stream(shard))).last_seq < seq
        else:
            gone = cursors.mark_of(found.body) != start.mark.hash
        if gone:
            raise Invalid(
                f"Invalid 'after': the log has another commit, or none, at sequence {seq} of shard {shard}, where this "
                "cursor has been. It is of another deployment, or the log was brought back from a backup or altered: "
                "find out which, and begin anew without 'after'.",
                code="cursor_of_another_log",
                param="after",
            )


def advance_cursor(cursor: Cursor, found: FeedCommit) -> Cursor:
    """The cursor after one more commit."""
    seqs = (*cursor.seqs[: found.shard], found.seq, *cursor.seqs[found.shard + 1 :])
    return Cursor(seqs, cursor.order, Mark(found.shard, found.hash[: cursors.MARK]))


async def merge_shards(
    readers: Sequence[ForwardReader] | Sequence[BackwardReader], *, backwards: bool
) -> AsyncIterator[FeedCommit]:
    """What the shards have, in the one order, until none has anything left that there was when reading began."""
    pick = max if backwards else min
    while any(reader.left for reader in readers):
        if dry := [reader for reader in readers if reader.dry]:
            await asyncio.gather(*(reader.fill() for reader in dry))
        full = [reader for reader in readers if reader.buffer]
        if not full:
            return
        yield pick(full, key=_place).take()


def _place(reader: ForwardReader | BackwardReader) -> tuple[int, int, int]:
    return reader.buffer[0][:3]
