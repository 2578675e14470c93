"""Readers of one shard of the feed, forwards and backwards."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import aclosing
from typing import Final

from clew_events.errors import Unavailable
from clew_events.subjects import event_stream
from clew_projections.feed.entry import FeedCommit, decode_feed_commit
from clew_projections.history.log_reads import LogReads
from clew_projections.nats import replica_reads
from clew_projections.nats.replica_reads import pages
from clew_projections.nats.stream_messages import StoredMessage
from clew_projections.nats.stream_reads import PAGE

DENSE: Final = 2
"""A tenant has most of a shard if it has one of so many commits, or more."""
EVERYTHING: Final = ">"
MOST: Final = 1000
"""The most commits in one read."""


def is_ordered(commits: Sequence[FeedCommit], *, backwards: bool = False) -> bool:
    """Whether a shard's commits were stored one after the other by its clock, too."""
    times = [fed.stored_at for fed in commits]
    return times == sorted(times, reverse=backwards)


class ForwardReader:
    """Commits of a shard on ``subject`` after ``seq``.

    ``goal`` is the last commit when reading began, from the stream's leader: reading goes at least so far, even if the
    replica that answers lags. Later commits are read too, but none after ``limit``.

    With a limit the next page is read ahead; then the caller must close the reader. Where the tenant has most of the
    shard, everything in it is read, as the server takes three times as long to read what matches.
    """

    __slots__ = (
        "_chunk",
        "_coming",
        "_dense",
        "_ended",
        "_js",
        "_limit",
        "_prefix",
        "_read",
        "_subject",
        "buffer",
        "goal",
        "ordered",
        "seq",
        "shard",
    )

    def __init__(
        self, js: LogReads, shard: int, subject: str, seq: int, goal: int, *, chunk: int, limit: int | None = None
    ) -> None:
        self._js = js
        self._subject = subject
        self._chunk = chunk
        self._limit = limit
        self._read = seq
        self._coming: asyncio.Task[list[StoredMessage]] | None = None
        self._ended = False
        self._dense = False
        self._prefix = subject.removesuffix("*")
        self.shard = shard
        self.seq = seq
        self.goal = goal
        self.buffer: list[FeedCommit] = []
        self.ordered = True

    @property
    def has_more(self) -> bool:
        """Whether there are commits up to the goal that were not taken yet."""
        return self.seq < self.goal

    @property
    def needs_fill(self) -> bool:
        """Whether :meth:`fill` must run before the next commit is known."""
        return not self.buffer and not self._ended

    def take(self, count: int) -> None:
        """Take some commits from the buffer."""
        self.seq = self.buffer[count - 1].seq
        del self.buffer[:count]

    async def fill(self) -> None:
        """Read the next commits into the buffer, or note that there are none.

        Raises:
            Unavailable: the log does not answer.
        """
        while self.needs_fill:
            coming, self._coming = self._coming, None
            page = await (coming if coming is not None else self._next())
            if not page and self._read < self.goal:
                what = f"messages of {event_stream(self.shard)} on {self._subject}"
                raise Unavailable(f"{what} were removed during a read", code="log_changed")
            limit, after = self._limit, self._read
            self._read = page[-1].seq if page else after
            self._ended = not page or (limit is not None and self._read >= limit)
            if limit is not None:
                page = [stored for stored in page if stored.seq <= limit and stored.subject.startswith(self._prefix)]
                self._dense = self._subject.endswith(".*") and self._read - after < DENSE * len(page)
                if self._read < self.goal:
                    self._coming = asyncio.get_running_loop().create_task(self._next())
            self.buffer += [decode_feed_commit(stored, self.shard) for stored in page]
        self.ordered = is_ordered(self.buffer)

    async def close(self) -> None:
        """Cancel the read ahead."""
        coming, self._coming = self._coming, None
        if coming is not None:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)

    async def _next(self) -> list[StoredMessage]:
        last = self.goal if self._read < self.goal else await self._last_by_now()
        stream = event_stream(self.shard)
        subject = EVERYTHING if self._dense else self._subject
        return await replica_reads.page(self._js, stream, subject, self._read + 1, last, limit=self._chunk)

    async def _last_by_now(self) -> int:
        # Read from the end of the stream: a forward search reads every block after this tenant's last commit.
        if self._limit is not None:
            return 0
        newest = await self._js.newest_at_leader(event_stream(self.shard), self._subject, self._read)
        return newest.seq if newest is not None else 0


_GROWTH: Final = 4


class BackwardReader:
    """Commits of a shard on ``subject`` before sequence ``seq``, latest first; ``goal`` is the last commit."""

    __slots__ = ("_goal", "_js", "_low", "_most", "_subject", "_window", "buffer", "ordered", "seq", "shard")

    def __init__(self, js: LogReads, shard: int, subject: str, seq: int, goal: int, *, chunk: int) -> None:
        self._js = js
        self._subject = subject
        self._goal = goal
        self._low = seq
        self._window = self._most = chunk
        self.shard = shard
        self.seq = seq
        self.buffer: list[FeedCommit] = []
        self.ordered = True

    @property
    def has_more(self) -> bool:
        """Whether there may be commits that were not taken yet."""
        return bool(self.buffer) or self._low > 1

    @property
    def needs_fill(self) -> bool:
        """Whether :meth:`fill` must run before the next commit is known."""
        return not self.buffer and self._low > 1

    def take(self, count: int) -> None:
        """Take some commits, in descending order, from the buffer."""
        self.seq = self.buffer[count - 1].seq
        del self.buffer[:count]

    async def fill(self) -> None:
        """Read the preceding commits into the buffer, or note that there are none.

        Raises:
            Unavailable: the log does not answer.
        """
        while self.needs_fill:
            low = max(1, self._low - self._window)
            kept, there = await self._piece(low)
            self._low = low if there == len(kept) else kept[0].seq
            fitting = self._window * self._most // max(there, 1)
            self._window = min(self._window * _GROWTH, max(self._most, fitting))
            self.buffer += [decode_feed_commit(stored, self.shard) for stored in reversed(kept)]
            self.ordered = is_ordered(self.buffer, backwards=True)

    async def _piece(self, low: int) -> tuple[deque[StoredMessage], int]:
        # The last messages of the window; there may be any number before them.
        kept: deque[StoredMessage] = deque(maxlen=self._most)
        there = 0
        stream, limit = event_stream(self.shard), min(PAGE, self._most + 1)
        # Up to the last commit, which a replica may not have yet, but no further than commits read already.
        async with aclosing(pages(self._js, stream, self._subject, low, self._goal, limit=limit)) as found:
            async for page in found:
                inside = [stored for stored in page if stored.seq < self._low]
                kept.extend(inside)
                there += len(inside)
                if len(inside) < len(page):
                    break
        return kept, there
