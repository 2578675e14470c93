"""Follows the log: every commit goes from its shard's stream into the current generation of the index.

The position is in the index file, written in the same transaction as the rows. So after any interruption (a killed
process, a restarted server, a full disk) indexing resumes there, and no commit is repeated or left out.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from clew_events.backoff import delays
from clew_events.errors import Unavailable
from clew_projections.indexer.generation_file import Batch, IndexGeneration
from clew_projections.indexer.shard_order import OrderedShard

AT_ONCE: Final = 500
"""Commits in one read of a shard, and about as many in one transaction of the index."""
AHEAD: Final = 4
"""Batches that are queued while one is written."""

_LOG: Final = logging.getLogger("clew.index")

Sources = Callable[[], Sequence[OrderedShard]]
"""Returns new readers of all shards."""


class LogFollower:
    """Reads the commits after the marks of a generation, at most a few batches ahead."""

    def __init__(self, sources: Sequence[OrderedShard]) -> None:
        self._sources = sources
        self._arrived: asyncio.Queue[Batch] = asyncio.Queue(AHEAD)
        self._readers: list[asyncio.Task[None]] = []

    async def batch(self, patience: float) -> Batch:
        """Return the next batch; an empty one if no commit comes within ``patience`` seconds."""
        try:
            async with asyncio.timeout(patience):
                batch = await self._arrived.get()
        except TimeoutError:
            for task in self._readers:
                if task.done():
                    task.result()
            return Batch()
        while len(batch) < AT_ONCE and not self._arrived.empty():
            batch.add(self._arrived.get_nowait())
        return batch

    def start(self) -> None:
        """Start reading."""
        self._readers = [asyncio.create_task(self._read_shard(source)) for source in self._sources]

    async def stop(self) -> None:
        """Stop reading."""
        for task in self._readers:
            task.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)

    async def _read_shard(self, source: OrderedShard) -> None:
        pauses = delays(first=0.05)
        while True:
            before = source.position
            try:
                page = await source.next(AT_ONCE)
            except Unavailable as fault:
                _LOG.warning("the index waits for shard %d of the log: %s", source.shard, fault)
                await asyncio.sleep(next(pauses))
                continue
            pauses = delays(first=0.05)
            if not page and source.position > before:
                _LOG.error(
                    "shard %d of the log ends at sequence %d and holds nothing after %d: commits were removed, which "
                    "Clew never does. The index goes on without them; 'clew verify --all' says more",
                    *(source.shard, source.position, before),
                )
            if source.position > before:
                commits = [(source.shard, stored) for stored in page]
                await self._arrived.put(Batch(commits, {source.shard: source.position}))


@contextlib.asynccontextmanager
async def follow_log(sources: Sequence[OrderedShard], book: IndexGeneration) -> AsyncIterator[LogFollower]:
    """Follow the log from the marks of a generation on, for the duration of the block."""
    follower = LogFollower(sources)
    marks = book.marks
    for source in sources:
        source.begin(marks.get(source.shard, 0))
    follower.start()
    try:
        yield follower
    finally:
        await follower.stop()
