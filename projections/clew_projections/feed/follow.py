"""Follow the feed: from any cursor through the log to the live end, and on as commits are stored.

Whenever a live commit may have been missed (a gap, a lost connection, a slow reader), the reader continues from the log
at its position. So no commit is missed or repeated.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, NamedTuple

from msgspec.structs import replace

from clew_events.queries import GetFeed
from clew_projections.feed.cursor import Cursor, encode_cursor
from clew_projections.feed.entry import FeedCommit, FeedFilter
from clew_projections.feed.live_end import Listener, LiveCommit, Tail
from clew_projections.feed.merge import SCANNED, Feed, advance_cursor

AT_ONCE: Final = 100
"""The most commits from the log in one batch."""


class FollowedCommit(NamedTuple):
    """A commit and the encoded cursor after it."""

    fed: FeedCommit
    id: str


async def follow(
    feed: Feed, tail: Tail, tenant: str, query: GetFeed, *, idle: float
) -> AsyncGenerator[list[FollowedCommit]]:
    """Yield batches of matching commits until the tail is closed; after ``idle`` seconds without one, an empty batch.

    Commits that do not match put off no empty batch, however many there are.

    From the log they come in its order. At the live end they come as they are stored, in order within a shard, and so
    within a thread. The commits after a cursor are the same either way.

    Raises:
        Invalid: the cursor is of another feed, or the log is not the one it was given for.
        Unavailable: the log does not answer.
    """
    reader = _Reader(feed, tenant, query, await feed.start(tenant, query))
    heartbeat = _Heartbeat(idle)
    while True:
        listener = await tail.listen(tenant)
        try:
            async with aclosing(reader.catch_up(listener, heartbeat)) as from_log:
                async for batch in from_log:
                    yield batch
                    heartbeat.restart()
            while (live := await listener.take(heartbeat.due_in)) is not None:
                matching = reader.filter_live(live)
                if matching or not heartbeat.due_in:
                    yield matching
                    heartbeat.restart()
            if listener.ended:
                return
        finally:
            await tail.leave(listener)


class _Heartbeat:
    """When the next empty batch is due: ``idle`` seconds after the last batch was taken."""

    def __init__(self, idle: float) -> None:
        self._idle = idle
        self._time = asyncio.get_running_loop().time
        self.restart()

    def restart(self) -> None:
        """Count from now."""
        self._due = self._time() + self._idle

    @property
    def due_in(self) -> float:
        """Seconds until it is due; 0 from then on."""
        return max(0.0, self._due - self._time())


class _Reader:
    """The position and the filter of one reader."""

    def __init__(self, feed: Feed, tenant: str, query: GetFeed, cursor: Cursor) -> None:
        self._feed = feed
        self._tenant = tenant
        self._query = query
        self._wanted = FeedFilter(query)
        self._cursor = cursor

    async def catch_up(self, listener: Listener, heartbeat: _Heartbeat) -> AsyncGenerator[list[FollowedCommit]]:
        """Yield matching commits from the log up to where the listener begins; batches may be empty."""
        await self._feed.check_same_log(self._cursor)
        batch: list[FollowedCommit] = []
        scanned = 0
        async with aclosing(self._feed.read_until(self._tenant, self._query, self._cursor, listener.since)) as log:
            async for read in log:
                for fed in read:
                    self._cursor = advance_cursor(self._cursor, fed)
                    scanned += 1
                    if self._wanted.matches(fed):
                        shown = self._feed.redact(fed, self._tenant)
                        batch.append(FollowedCommit(shown, encode_cursor(self._cursor, self._tenant)))
                    if len(batch) == AT_ONCE or scanned == SCANNED or not heartbeat.due_in:
                        yield batch
                        batch, scanned = [], 0
        if batch:
            yield batch
        self._cursor = replace(self._cursor, seqs=tuple(map(max, self._cursor.seqs, listener.since)))

    def filter_live(self, commits: list[LiveCommit]) -> list[FollowedCommit]:
        """Return the matching live commits that were not read from the log already."""
        matching: list[FollowedCommit] = []
        for live in commits:
            if live.fed.seq <= self._cursor.seqs[live.fed.shard]:
                continue
            # A reader that has read further in the log must not move back.
            seqs, text = tuple(map(max, self._cursor.seqs, live.cursor.seqs)), live.id
            self._cursor = live.cursor
            if seqs != live.cursor.seqs:
                self._cursor = replace(live.cursor, seqs=seqs)
                text = encode_cursor(self._cursor, self._tenant)
            if self._wanted.matches_live(live.fed):
                matching.append(FollowedCommit(self._feed.redact(live.fed, self._tenant), text))
        return matching
