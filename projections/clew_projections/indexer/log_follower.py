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
from clew_events.subjects import event_stream
from clew_projections.index.index_folder import IndexFolder
from clew_projections.indexer.generation_file import Batch, IndexGeneration
from clew_projections.nats.jetstream import JetStream, stream_state
from clew_projections.nats.stream_messages import StoredMessage

SOON: Final = 0.005
"""Seconds before the first poll of a log without new commits; doubled for each further poll."""
GATHERING: Final = 0.05
"""Seconds to wait after the end was read: many commits together cost less than single ones."""
BUSY: Final = 10
"""Commits at the end of a shard from which on the wait is as long as between polls, so that there are fewer writes."""
TOGETHER: Final = 0.01
"""Seconds to wait after a batch of so many commits for those of other busy shards, which are polled at one time."""
AT_LAST: Final = 0.1
"""The longest interval between polls, in seconds, for up to ``SHARDS`` shards; longer for more."""
SHARDS: Final = 8
QUIET: Final = 5
"""Empty polls in a row after which the leader is asked whether the end of the log was removed."""
SELDOM: Final = 50
"""Empty polls between further such requests."""


class OrderedShard:
    """Reads one shard of the log from a sequence on, and continues as commits are stored."""

    def __init__(self, js: JetStream, shard: int, shards: int) -> None:
        self.shard = shard
        self._js = js
        self._stream = event_stream(shard)
        self._longest = AT_LAST * max(1.0, shards / SHARDS)
        self._after = 0
        self._pause = SOON
        self._caught_up = False
        self._quiet = 0
        self._busy = False

    @property
    def position(self) -> int:
        """The sequence up to which all commits were returned or had been removed."""
        return self._after

    def begin(self, after: int) -> None:
        """Continue after a sequence; 0 is the beginning of the log."""
        self._after = after
        self._pause = SOON
        self._caught_up = False
        self._quiet = 0

    async def next(self, limit: int) -> list[StoredMessage]:
        """Return the next commits, at most ``limit``; an empty list, after a pause, if there are none yet.

        Where the end of the log was removed, the list is empty and :attr:`position` advances.

        Raises:
            Unavailable: JetStream does not answer. The next call continues at the same position.
        """
        if self._caught_up:
            # To the next multiple, which is the same for all busy shards: one transaction takes what all of them have.
            now = asyncio.get_running_loop().time()
            await asyncio.sleep(self._longest - now % self._longest if self._busy else GATHERING)
        page, more = await self._js.after(self._stream, ">", self._after + 1, limit)
        self._caught_up = bool(page) and not more
        self._busy = len(page) >= BUSY
        if not page:
            await asyncio.sleep(self._pause)
            self._pause = min(2 * self._pause, self._longest)
            self._quiet += 1
            if self._quiet == QUIET or self._quiet % SELDOM == 0:
                await self._skip_removed()
            return []
        self._quiet = 0
        await self._check_whole(page)
        self._after = page[-1].seq
        self._pause = SOON
        return page

    async def _check_whole(self, page: list[StoredMessage]) -> None:
        """Check that gaps between commits are gaps of the log, and not of the replica that answered."""
        before = self._after
        for stored in page:
            if stored.seq != before + 1:
                following = await self._js.next_at_leader(self._stream, before + 1)
                if following is None or following.seq != stored.seq:
                    raise Unavailable(f"a replica of {self._stream} lacks what its leader has", code="replica_behind")
            before = stored.seq

    async def _skip_removed(self) -> None:
        """Advance past empty sequences at the end of the log; they stay empty, since no sequence is used twice."""
        last = (await stream_state(self._js, self._stream)).last_seq
        if last > self._after and await self._js.next_at_leader(self._stream, self._after + 1) is None:
            self._after = last


AT_ONCE: Final = 500
"""Commits in one read of a shard, and about as many in one transaction of the index."""
AHEAD: Final = 4
"""Batches that are queued while one is written."""
PATIENCE: Final = 0.25
"""Seconds to wait for commits before other work."""

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
        if BUSY <= len(batch) < AT_ONCE:
            await asyncio.sleep(TOGETHER)
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
                    "shard %d of the log ends at sequence %d and holds nothing after %d: commits were removed, and "
                    "not by an erasure. The index goes on without them; 'clew verify --all' says more",
                    *(source.shard, source.position, before),
                )
            if source.position > before:
                commits = [(source.shard, stored) for stored in page]
                await self._arrived.put(Batch(commits, {source.shard: source.position}))


async def switch(folder: IndexFolder, before: int, book: IndexGeneration, sources: Sequence[OrderedShard]) -> int:
    """Bring a file up to date until it has all that generation ``before`` has, make it live, and return its number.

    So no list is older than one that was read before. The file is closed then.

    Raises:
        NotLive: another generation became live meanwhile.
    """
    async with follow_log(sources, book) as log:
        while (generation := await book.go_live(folder, before)) is None:
            if batch := await log.batch(PATIENCE):
                await book.take(batch)
    return generation


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
