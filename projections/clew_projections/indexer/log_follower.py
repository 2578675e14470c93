"""Following the log: every commit goes from its shard's stream into the current generation of the index.

Where the file stands is in the file, written with what it is about. So whatever happens (this process killed, the
server restarted, a batch refused by a full disk), feeding goes on from there, and no commit is taken twice or left out.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from clew_events.backoff import delays
from clew_events.errors import Unavailable
from clew_projections.indexer.generation_file import Batch, Book
from clew_projections.indexer.shard_order import OrderedShard

AT_ONCE: Final = 500
"""Commits asked of a shard at once, and that go into the index in one transaction, about."""
AHEAD: Final = 4
"""Batches that wait while one is written."""

_LOG: Final = logging.getLogger("clew.index")

Sources = Callable[[], Sequence[OrderedShard]]
"""Gives new readers of all shards."""


class LogFollower:
    """What comes out of the log behind the marks of a generation. No more waits than a few batches."""

    def __init__(self, sources: Sequence[OrderedShard]) -> None:
        self._sources = sources
        self._arrived: asyncio.Queue[Batch] = asyncio.Queue(AHEAD)
        self._drawing: list[asyncio.Task[None]] = []

    async def batch(self, patience: float) -> Batch:
        """What came, or nothing if nothing does within ``patience`` seconds."""
        try:
            async with asyncio.timeout(patience):
                found = await self._arrived.get()
        except TimeoutError:
            for task in self._drawing:
                if task.done():
                    task.result()
            return Batch()
        while len(found) < AT_ONCE and not self._arrived.empty():
            found.add(self._arrived.get_nowait())
        return found

    def start(self) -> None:
        """Begin to read."""
        self._drawing = [asyncio.create_task(self._draw(source)) for source in self._sources]

    async def stop(self) -> None:
        """Read no more."""
        for task in self._drawing:
            task.cancel()
        await asyncio.gather(*self._drawing, return_exceptions=True)

    async def _draw(self, source: OrderedShard) -> None:
        pauses = delays(first=0.05)
        while True:
            before = source.reached
            try:
                found = await source.next(AT_ONCE)
            except Unavailable as fault:
                _LOG.warning("the index waits for shard %d of the log: %s", source.shard, fault)
                await asyncio.sleep(next(pauses))
                continue
            pauses = delays(first=0.05)
            if not found and source.reached > before:
                _LOG.error(
                    "shard %d of the log reaches to sequence %d, and holds nothing after %d: what was there was "
                    "removed, which Clew never does. The index goes on without it; 'clew verify --all' says more",
                    *(source.shard, source.reached, before),
                )
            if source.reached > before:
                commits = [(source.shard, stored) for stored in found]
                await self._arrived.put(Batch(commits, {source.shard: source.reached}))


@contextlib.asynccontextmanager
async def follow_log(sources: Sequence[OrderedShard], book: Book) -> AsyncIterator[LogFollower]:
    """Follow the log from the marks of a generation on, for as long as the block lasts."""
    following = LogFollower(sources)
    marks = book.marks
    for source in sources:
        source.begin(marks.get(source.shard, 0))
    following.start()
    try:
        yield following
    finally:
        await following.stop()
