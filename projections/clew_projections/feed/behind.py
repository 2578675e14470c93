"""A shard read backwards. JetStream reads forwards only, so this reads ever larger pieces, each before the last one."""

from __future__ import annotations

from collections import deque
from contextlib import aclosing
from typing import Final

from clew_events.subjects import event_stream
from clew_projections.feed.fed import Fed, fed
from clew_projections.jetstream.calls import JetStream
from clew_projections.jetstream.messages import Stored
from clew_projections.jetstream.reading import PAGE
from clew_projections.jetstream.replicas import pages

_GROWTH: Final = 4


class Behind:
    """Commits of a shard on ``subject`` before sequence ``seq``, the latest first; ``goal`` is the last there is."""

    __slots__ = ("_goal", "_js", "_low", "_most", "_subject", "_window", "buffer", "seq", "shard")

    def __init__(self, js: JetStream, shard: int, subject: str, seq: int, goal: int, *, chunk: int) -> None:
        self._js = js
        self._subject = subject
        self._goal = goal
        self._low = seq
        self._window = self._most = chunk
        self.shard = shard
        self.seq = seq
        self.buffer: deque[Fed] = deque()

    @property
    def left(self) -> bool:
        """Whether there may be commits that were not taken yet."""
        return bool(self.buffer) or self._low > 1

    @property
    def dry(self) -> bool:
        """Whether more has to be read before it is known what is next."""
        return not self.buffer and self._low > 1

    def take(self) -> Fed:
        """The next commit, which is the one before."""
        found = self.buffer.popleft()
        self.seq = found.seq
        return found

    async def fill(self) -> None:
        """Have the commits before at hand, or know that there are none.

        Raises:
            Unavailable: the log does not answer.
        """
        while self.dry:
            low = max(1, self._low - self._window)
            kept, there = await self._piece(low)
            self._low = low if there == len(kept) else kept[0].seq
            fitting = self._window * self._most // max(there, 1)
            self._window = min(self._window * _GROWTH, max(self._most, fitting))
            self.buffer.extend(fed(stored, self.shard) for stored in reversed(kept))

    async def _piece(self, low: int) -> tuple[deque[Stored], int]:
        # The last few of a piece; of those that are further back there may be any number.
        kept: deque[Stored] = deque(maxlen=self._most)
        there = 0
        stream, limit = event_stream(self.shard), min(PAGE, self._most + 1)
        # Up to the last there is, which a replica may not have yet; but no further than one of those taken already.
        async with aclosing(pages(self._js, stream, self._subject, low, self._goal, limit=limit)) as found:
            async for page in found:
                inside = [stored for stored in page if stored.seq < self._low]
                kept.extend(inside)
                there += len(inside)
                if len(inside) < len(page):
                    break
        return kept, there
