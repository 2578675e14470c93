"""A shard read forwards, as far ahead as it is asked for."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from clew_events.errors import Unavailable
from clew_events.subjects import event_stream
from clew_projections.feed.fed import Fed, fed
from clew_projections.jetstream import replicas
from clew_projections.jetstream.calls import JetStream
from clew_projections.jetstream.messages import Stored

MOST: Final = 1000
"""Commits that one read asks for at most."""


class Ahead:
    """Commits of a shard on ``subject`` after ``seq``.

    ``goal`` is the last one there was when reading began, as the stream's leader knows it: reading goes at least so
    far, though the replica that answers may be behind. What was stored since is read too, but nothing after ``limit``.

    With a limit the next page is on its way while one is taken. Close it then.
    """

    __slots__ = ("_chunk", "_coming", "_ended", "_js", "_limit", "_read", "_subject", "buffer", "goal", "seq", "shard")

    def __init__(
        self, js: JetStream, shard: int, subject: str, seq: int, goal: int, *, chunk: int, limit: int | None = None
    ) -> None:
        self._js = js
        self._subject = subject
        self._chunk = chunk
        self._limit = limit
        self._read = seq
        self._coming: asyncio.Task[list[Stored]] | None = None
        self._ended = False
        self.shard = shard
        self.seq = seq
        self.goal = goal
        self.buffer: deque[Fed] = deque()

    @property
    def left(self) -> bool:
        """Whether there are commits up to the goal that were not taken yet."""
        return self.seq < self.goal

    @property
    def dry(self) -> bool:
        """Whether more has to be read before it is known what is next."""
        return not self.buffer and not self._ended

    def take(self) -> Fed:
        """The next commit."""
        found = self.buffer.popleft()
        self.seq = found.seq
        return found

    async def fill(self) -> None:
        """Have the next commits at hand, or know that there are none.

        Raises:
            Unavailable: the log does not answer.
        """
        coming, self._coming = self._coming, None
        page = await (coming if coming is not None else self._next())
        if not page and self._read < self.goal:
            what = f"what {event_stream(self.shard)} had on {self._subject}"
            raise Unavailable(f"{what} went away while it was read", code="log_changed")
        self._read = page[-1].seq if page else self._read
        self._ended = not page or (self._limit is not None and self._read >= self._limit)
        if self._limit is not None and self._read < self.goal:
            self._coming = asyncio.get_running_loop().create_task(self._next())
        self.buffer.extend(fed(each, self.shard) for each in page if self._limit is None or each.seq <= self._limit)

    async def close(self) -> None:
        """Want nothing any more."""
        coming, self._coming = self._coming, None
        if coming is not None:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)

    async def _next(self) -> list[Stored]:
        last = self.goal if self._read < self.goal else await self._last_by_now()
        stream = event_stream(self.shard)
        return await replicas.page(self._js, stream, self._subject, self._read + 1, last, limit=self._chunk)

    async def _last_by_now(self) -> int:
        # Asked of the end of the stream, as a search forwards looks into every block behind this tenant's last commit.
        if self._limit is not None:
            return 0
        newest = await self._js.newest_at_leader(event_stream(self.shard), self._subject, self._read)
        return newest.seq if newest is not None else 0
