"""The indexer of a machine: the process that holds the lease follows the log and brings the index up to date.

No fault here stops the process: each is logged once and retried with backoff.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Sequence
from typing import Final, Literal

from clew_events.backoff import delays
from clew_events.errors import Unavailable
from clew_projections.index.database import Unusable, is_damage, is_no_room
from clew_projections.index.index_folder import IndexFolder
from clew_projections.index.writer import NotLive
from clew_projections.indexer.file_lease import Lease
from clew_projections.indexer.generation_file import IndexGeneration
from clew_projections.indexer.log_follower import PATIENCE, OrderedShard, follow_log
from clew_projections.indexer.machines import Machines, Reporter
from clew_projections.indexer.purge import Purge
from clew_projections.indexer.snapshots import Snapshots
from clew_projections.indexer.start import Start
from clew_projections.wait import cancel, wait_for_event

_LOG: Final = logging.getLogger("clew.index")


class SnapshotSchedule:
    """Decides when a snapshot is due: after an interval, if enough commits came since, or no snapshot has as many."""

    def __init__(self, seconds: float = 600.0, commits: int = 10_000) -> None:
        self.seconds = seconds
        self.commits = commits
        self._last = time.monotonic()
        self._taken = 0

    def note(self, commits: int) -> None:
        """Count commits that were added to the index."""
        self._taken += commits

    def due(self, held: int) -> Literal["another", "the first"] | None:
        """Whether a snapshot of an index with ``held`` commits is due, or one is if there is none; only once in a time.

        There is none at first, and after an erasure.
        """
        if time.monotonic() - self._last < self.seconds or max(held, self._taken) < self.commits:
            return None
        due: Literal["another", "the first"] = "another" if self._taken >= self.commits else "the first"
        self._last, self._taken = time.monotonic(), 0 if due == "another" else self._taken
        return due


class Indexer:
    """Keeps the index in a folder current while it holds the lease."""

    def __init__(
        self,
        folder: IndexFolder,
        start: Start,
        sources: Callable[[], Sequence[OrderedShard]],
        snapshots: Snapshots,
        connection: Callable[[], int],
        *,
        machines: Machines,
        dedicated: bool,
        due: SnapshotSchedule | None = None,
    ) -> None:
        """``sources`` returns readers of all shards; ``connection`` returns how often the connection was made.

        ``machines`` is where it reports up to where nothing is left of what was erased.
        """
        self.is_active = False
        """Whether this process indexes now."""
        self.taken = 0
        """Commits added to the index since the start."""
        self._folder = folder
        self._start = start
        self._sources = sources
        self._snapshots = snapshots
        self._connection = connection
        self._lease = Lease(folder, dedicated=dedicated)
        self._due = due or SnapshotSchedule()
        self._snapshot: asyncio.Task[None] | None = None
        self._purge = Purge(folder, start.histories, sources)
        self._copying: asyncio.Task[None] | None = None
        self._reporter = Reporter(machines, folder)
        self._trouble = ""

    async def run(self, stop: asyncio.Event) -> None:
        """Index, or wait for the lease, until ``stop`` is set; the current batch is finished first."""
        pauses = delays(first=0.1, longest=5.0)
        try:
            while not stop.is_set():
                try:
                    if await self._lease.wait(stop):
                        await self._index(stop)
                        pauses = delays(first=0.1, longest=5.0)
                except Exception as fault:  # noqa: BLE001 - the rest of the process goes on
                    self._log(fault)
                    await wait_for_event(stop, next(pauses))
        finally:
            await self._end_tasks()
            self._lease.give_back()

    async def _index(self, stop: asyncio.Event) -> None:
        made = self._connection()
        generation, book = await self._start.open()
        try:
            self.is_active = True
            async with follow_log(self._sources(), book) as log:
                while self._lease.held and not stop.is_set() and made == self._connection():
                    if not self._is_current(generation, book):
                        return
                    if batch := await log.batch(PATIENCE):
                        await book.take(batch)
                        self.taken += len(batch)
                        self._due.note(len(batch))
                        self._log_recovery()
                    self._log_refused(book)
                    await self._check_sound(generation, book)
                    await self._keep_clean(generation, book)
                    self._snapshot_if_due(book)
        except NotLive:
            return
        except (Unusable, sqlite3.DatabaseError) as fault:
            if isinstance(fault, Unusable) or is_damage(fault):
                # The file is not usable again, so it is not opened a second time.
                self._folder.remove(generation)
            raise
        finally:
            self.is_active = False
            await self._end_tasks()
            await book.close()

    def _is_current(self, generation: int, book: IndexGeneration) -> bool:
        pointer = self._folder.pointer()
        if pointer is None or pointer.generation != generation or not book.path.exists():
            return False
        if not pointer.ready and all(book.marks.get(int(shard), 0) >= seq for shard, seq in pointer.goal.items()):
            self._folder.point(generation)
            _LOG.info("the index is ready: generation %d", generation)
        return True

    async def _check_sound(self, generation: int, book: IndexGeneration) -> None:
        if self._folder.take_suspicion(generation) and not await book.is_sound():
            raise Unusable(f"{book.path} is damaged")

    def _log_refused(self, book: IndexGeneration) -> None:
        while book.refused:
            parked = book.refused.pop()
            _LOG.error(
                "thread %s of tenant %s is left out of the index: %s", parked.thread, parked.tenant, parked.reason
            )

    async def _keep_clean(self, generation: int, book: IndexGeneration) -> None:
        """Have what was erased purged from the files, and report how far that is."""
        self._purge.sweep(generation, book)
        if self._copying is not None and self._copying.done():
            self._copying.result()
            self._copying = None
        pointer = self._folder.pointer()
        ready = pointer is not None and pointer.ready
        if ready and self._copying is None and self._purge.is_due(generation, book):
            self._copying = asyncio.create_task(self._purge.copy(generation))
        erased = {shard: mark.newest for shard, mark in book.erasures.items()}
        await self._reporter.tell(self._purge.clean(generation, book), erased=erased)

    def _snapshot_if_due(self, book: IndexGeneration) -> None:
        pointer = self._folder.pointer()
        busy = self._snapshot is not None and not self._snapshot.done()
        if busy or pointer is None or not pointer.ready:
            return
        if due := self._due.due(sum(book.marks.values())):
            self._snapshot = asyncio.create_task(self._take_snapshot(book, unless_there=due == "the first"))

    async def _take_snapshot(self, book: IndexGeneration, *, unless_there: bool) -> None:
        try:
            if unless_there and await self._snapshots.usable():
                return
            made = await self._snapshots.store(book.path, book.marks)
        except (Unavailable, OSError, sqlite3.Error) as fault:
            _LOG.warning("the snapshot of the index failed and is retried later: %s", fault)
        else:
            _LOG.info("stored a snapshot of the index: %s, %d bytes", made.name, made.compressed)

    async def _end_tasks(self) -> None:
        await self._end_snapshot()
        task, self._copying = self._copying, None
        if task is not None:
            await cancel(task)

    async def _end_snapshot(self) -> None:
        task, self._snapshot = self._snapshot, None
        if task is not None:
            await cancel(task)

    def _log(self, fault: Exception) -> None:
        trouble = f"{type(fault).__name__}: {fault}"
        if trouble == self._trouble:
            return
        self._trouble = trouble
        if isinstance(fault, sqlite3.Error) and is_no_room(fault):
            _LOG.error("the index in %s is not updated: the disk refuses writes: %s", self._folder.path, fault)
        elif isinstance(fault, (Unavailable, OSError, sqlite3.Error, Unusable)):
            _LOG.warning("the index in %s is not updated for now: %s", self._folder.path, fault)
        else:
            _LOG.error("the index in %s is not updated for now", self._folder.path, exc_info=fault)

    def _log_recovery(self) -> None:
        if self._trouble:
            _LOG.warning("the index in %s is updated again", self._folder.path)
        self._trouble = ""
