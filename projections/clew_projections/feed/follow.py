"""Following the feed: from any cursor through the log to the live end, and on as commits are stored.

Whenever something may have been missed (a commit was not heard of, the connection was lost, the reader is too slow) it
is read from the log, from where this reader is. So nothing is missed and nothing comes twice.
"""

from __future__ import annotations

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
"""Commits read from the log that are given at once."""


class FollowedCommit(NamedTuple):
    """A commit, and the cursor after it as it is handed out."""

    fed: FeedCommit
    id: str


async def follow(
    feed: Feed, tail: Tail, tenant: str, query: GetFeed, *, idle: float
) -> AsyncGenerator[list[FollowedCommit]]:
    """Commits as they are wanted, some at once, until the tail is closed; an empty list after ``idle`` quiet seconds.

    In the log they are in its order. At the live end they come as they are stored, in order within a shard, and so
    within a thread. What follows an id is the same either way.

    Raises:
        Invalid: the cursor is of another feed, or the log is not the one it was given for.
        Unavailable: the log does not answer.
    """
    reader = _Reader(feed, tenant, query, await feed.start(tenant, query))
    while True:
        listener = await tail.listen(tenant)
        try:
            async with aclosing(reader.catch_up(listener)) as from_log:
                async for some in from_log:
                    yield some
            while (heard := await listener.take(idle)) is not None:
                given = reader.hear(heard)
                if given or not heard:
                    yield given
            if listener.ended:
                return
        finally:
            await tail.leave(listener)


class _Reader:
    """Where one reader is."""

    def __init__(self, feed: Feed, tenant: str, query: GetFeed, cursor: Cursor) -> None:
        self._feed = feed
        self._tenant = tenant
        self._query = query
        self._wanted = FeedFilter(query)
        self._cursor = cursor

    async def catch_up(self, listener: Listener) -> AsyncGenerator[list[FollowedCommit]]:
        """What stands in the log up to where the listener begins; now and then nothing, where little is wanted."""
        await self._feed.hold_same_log(self._cursor)
        some: list[FollowedCommit] = []
        looked = 0
        async with aclosing(self._feed.up_to(self._tenant, self._query, self._cursor, listener.since)) as log:
            async for found in log:
                self._cursor = advance_cursor(self._cursor, found)
                looked += 1
                if self._wanted.holds(found):
                    some.append(FollowedCommit(found, encode_cursor(self._cursor, self._tenant)))
                if len(some) == AT_ONCE or looked == SCANNED:
                    yield some
                    some, looked = [], 0
        if some:
            yield some
        self._cursor = replace(self._cursor, seqs=tuple(map(max, self._cursor.seqs, listener.since)))

    def hear(self, heard: list[LiveCommit]) -> list[FollowedCommit]:
        """What of this was not read from the log already, and is wanted."""
        given: list[FollowedCommit] = []
        for each in heard:
            if each.fed.seq <= self._cursor.seqs[each.fed.shard]:
                continue
            # Who read on in the log beyond what had been heard of by then must not be led back.
            seqs, text = tuple(map(max, self._cursor.seqs, each.cursor.seqs)), each.id
            self._cursor = each.cursor
            if seqs != each.cursor.seqs:
                self._cursor = replace(each.cursor, seqs=seqs)
                text = encode_cursor(self._cursor, self._tenant)
            if self._wanted.listens(each.fed):
                given.append(FollowedCommit(each.fed, text))
        return given
