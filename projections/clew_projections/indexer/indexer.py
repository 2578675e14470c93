"""Feeding the index of a machine: one process holds the lease, follows the log, and brings the index to what it says.

Nothing here is worth stopping a process for: whatever goes wrong is said once, and tried again until it goes right.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Final

from clew_events.backoff import delays
from clew_events.errors import Unavailable
from clew_projections.index.database import Unusable, is_damage, is_no_room
from clew_projections.index.index_folder import IndexFolder
from clew_projections.indexer.file_lease import Lease
from clew_projections.indexer.generation_file import Book
from clew_projections.indexer.log_follower import follow_log
from clew_projections.indexer.shard_order import OrderedShard
from clew_projections.indexer.snapshots import Snapshots
from clew_projections.indexer.start import Start
from clew_projections.wait import wait_for_event

PATIENCE: Final = 0.25
"""Seconds to wait for commits before looking after the rest."""

_LOG: Final = logging.getLogger("clew.index")


class SnapshotSchedule:
    """When the next snapshot is due: after an interval, if enough has changed since the last one."""

    def __init__(self, seconds: float = 600.0, commits: int = 10_000) -> None:
        self.seconds = seconds
        self.commits = commits
        self._last = time.monotonic()
        self._taken = 0

    def note(self, commits: int) -> None:
        """So many commits more are in the index."""
        self._taken += commits

    def now(self) -> bool:
        """Whether a snapshot is due; if so, the next one is due after another interval."""
        if self._taken < self.commits or time.monotonic() - self._last < self.seconds:
            return False
        self._last, self._taken = time.monotonic(), 0
        return True


class Indexer:
    """Feeds the index in a folder, in turn with all other feeders of the same."""

    def __init__(
        self,
        folder: IndexFolder,
        start: Start,
        sources: Callable[[], Sequence[OrderedShard]],
        snapshots: Snapshots,
        connection: Callable[[], int],
        *,
        dedicated: bool,
        due: SnapshotSchedule | None = None,
    ) -> None:
        """``sources`` gives readers of all shards; ``connection`` counts how often the connection was made."""
        self.feeding = False
        """Whether it is this one that feeds."""
        self.taken = 0
        """Commits taken since the start."""
        self._folder = folder
        self._start = start
        self._sources = sources
        self._snapshots = snapshots
        self._connection = connection
        self._lease = Lease(folder, dedicated=dedicated)
        self._due = due or SnapshotSchedule()
        self._snapshot: asyncio.Task[None] | None = None
        self._trouble = ""

    async def run(self, stop: asyncio.Event) -> None:
        """Feed, or wait for the turn to, until ``stop`` is set; the batch in hand is finished first."""
        pauses = delays(first=0.1, longest=5.0)
        try:
            while not stop.is_set():
                try:
                    if await self._lease.wait(stop):
                        await self._feed(stop)
                        pauses = delays(first=0.1, longest=5.0)
                except Exception as fault:  # noqa: BLE001 - what else the process does must go on
                    self._say(fault)
                    await wait_for_event(stop, next(pauses))
        finally:
            await self._end_snapshot()
            self._lease.give_back()

    async def _feed(self, stop: asyncio.Event) -> None:
        made = self._connection()
        generation, book = await self._start.open()
        try:
            self.feeding = True
            async with follow_log(self._sources(), book) as log:
                while self._lease.held and not stop.is_set() and made == self._connection():
                    if not self._still_asked(generation, book):
                        return
                    if batch := await log.batch(PATIENCE):
                        await book.take(batch)
                        self.taken += len(batch)
                        self._due.note(len(batch))
                        self._well()
                    self._name_refused(book)
                    await self._hold_sound(generation, book)
                    self._snapshot_if_due(book)
        except (Unusable, sqlite3.DatabaseError) as fault:
            if isinstance(fault, Unusable) or is_damage(fault):
                # It cannot be opened again by anybody; what is there now is not looked at a second time.
                self._folder.remove(generation)
            raise
        finally:
            self.feeding = False
            await self._end_snapshot()
            await book.close()

    def _still_asked(self, generation: int, book: Book) -> bool:
        pointer = self._folder.pointer()
        if pointer is None or pointer.generation != generation or not book.path.exists():
            return False
        if not pointer.ready and all(book.marks.get(int(shard), 0) >= seq for shard, seq in pointer.goal.items()):
            self._folder.point(generation)
            _LOG.info("the index can be asked: generation %d", generation)
        return True

    async def _hold_sound(self, generation: int, book: Book) -> None:
        if self._folder.take_suspicion(generation) and not await book.sound():
            raise Unusable(f"{book.path} is damaged")

    def _name_refused(self, book: Book) -> None:
        while book.refused:
            each = book.refused.pop()
            _LOG.error("thread %s of tenant %s is left out of the index: %s", each.thread, each.tenant, each.reason)

    def _snapshot_if_due(self, book: Book) -> None:
        pointer = self._folder.pointer()
        busy = self._snapshot is not None and not self._snapshot.done()
        if not busy and pointer is not None and pointer.ready and self._due.now():
            self._snapshot = asyncio.create_task(self._take_snapshot(book))

    async def _take_snapshot(self, book: Book) -> None:
        try:
            made = await self._snapshots.store(book.path, book.marks)
        except (Unavailable, OSError, sqlite3.Error) as fault:
            _LOG.warning("no snapshot of the index was taken, the next one is due later: %s", fault)
        else:
            _LOG.info("a snapshot of the index was taken: %s, %d bytes", made.name, made.compressed)

    async def _end_snapshot(self) -> None:
        task, self._snapshot = self._snapshot, None
        if task is not None:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _say(self, fault: Exception) -> None:
        trouble = f"{type(fault).__name__}: {fault}"
        if trouble == self._trouble:
            return
        self._trouble = trouble
        if isinstance(fault, sqlite3.Error) and is_no_room(fault):
            _LOG.error("the index in %s stays as it is: the disk does not take it: %s", self._folder.path, fault)
        elif isinstance(fault, (Unavailable, OSError, sqlite3.Error, Unusable)):
            _LOG.warning("the index in %s is not fed for now: %s", self._folder.path, fault)
        else:
            _LOG.error("the index in %s is not fed for now", self._folder.path, exc_info=fault)

    def _well(self) -> None:
        if self._trouble:
            _LOG.warning("the index in %s is fed again", self._folder.path)
        self._trouble = ""
