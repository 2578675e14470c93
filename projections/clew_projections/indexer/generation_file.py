"""One generation of the index, open for writing: commits of the log go in batch by batch.

SQLite blocks, so all access and the decoding of commits happen in one worker thread.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Self, TypeVar

from clew_events.codec import decode_recorded
from clew_events.commit import Position, Recorded, record_hash
from clew_events.errors import Corrupt
from clew_events.events import ThreadEvent
from clew_events.subjects import Address, address_of
from clew_projections.apply import restores_thread
from clew_projections.history.histories import Histories, locate_fault
from clew_projections.index.database import Unusable, is_busy, is_damage, open_for_writing
from clew_projections.index.index_folder import IndexFolder
from clew_projections.index.notes import BUSY, Ledger, ParkedThread, Place
from clew_projections.index.writer import ErasureMark, IndexWriter, NotLive
from clew_projections.nats.stream_messages import StoredMessage

T = TypeVar("T")
History = Sequence[Recorded] | Corrupt
"""A thread's commits from the first on, or why they cannot be read."""


class Batch:
    """The next commits of the log with their shards, in its order, and the position in each shard after them.

    The position is after the last commit where the end of the log was removed.
    """

    def __init__(
        self, commits: Sequence[tuple[int, StoredMessage]] = (), positions: Mapping[int, int] | None = None
    ) -> None:
        self.commits = list(commits)
        self.positions = dict(positions or {})

    def __bool__(self) -> bool:
        return bool(self.positions)

    def __len__(self) -> int:
        return len(self.commits)

    def add(self, later: Batch) -> None:
        """Append a later batch."""
        self.commits += later.commits
        self.positions |= later.positions


class IndexGeneration:
    """A generation of the index that this process writes; for one task at a time.

    Methods raise ``Unavailable`` or ``sqlite3.Error`` for faults of the disk or the file; then nothing is half done.
    Those that write raise ``NotLive`` if it may not be written any more.
    """

    def __init__(self, path: Path, histories: Histories, may_write: Callable[[], bool] = lambda: True) -> None:
        """``histories`` has what a restored thread holds; ``may_write`` is asked in each transaction."""
        self.path = path
        self._may_write = may_write
        self.refused: list[ParkedThread] = []
        """Threads that were set aside, for the caller to log and remove."""
        self._histories = histories
        self._thread = ThreadPoolExecutor(1, "clew-index")
        self._open = ExitStack()
        self._aside: dict[Address, ParkedThread] = {}
        self._marks: dict[int, int] = {}
        self._erasures: dict[int, ErasureMark] = {}
        self._writer: IndexWriter
        self._ledger: Ledger

    @classmethod
    async def open(cls, path: Path, histories: Histories, may_write: Callable[[], bool] = lambda: True) -> Self:
        """Open a generation, and create it if it does not exist.

        Raises:
            Unusable: the file is not an index, or of another format.
            Unavailable, sqlite3.Error: it is damaged, or the disk fails.
        """
        index = cls(path, histories, may_write)
        try:
            await index._run(index._begin)
        except BaseException:
            await index.close()
            raise
        return index

    @property
    def marks(self) -> dict[int, int]:
        """By shard, the sequence up to which everything is in the index."""
        return dict(self._marks)

    @property
    def erasures(self) -> dict[int, ErasureMark]:
        """By shard, how far the file is with erasures; shards without any are left out."""
        return self._erasures

    @property
    def is_clean(self) -> bool:
        """Whether the file has no bytes left of anything that was erased."""
        return all(each.clean >= each.newest for each in self._erasures.values())

    @property
    def aside(self) -> list[ParkedThread]:
        """The threads that are left out."""
        return list(self._aside.values())

    async def places(self) -> list[Place]:
        """Read the position in every shard and the hash of the commit there."""
        return await self._run(self._ledger.places)

    async def take(self, batch: Batch) -> None:
        """Add the next batch of the log.

        A thread whose commit is unreadable or does not continue it is set aside; the others go on. A deleted thread
        that is restored is indexed again from its history.

        Raises:
            Unavailable: the log does not answer. The batch may be taken again.
        """
        if restored := await self._run(lambda: self._take(batch, {})):
            histories = {address: await self._history(address, batch) for address in restored}
            await self._run(lambda: self._take(batch, histories))

    async def take_up(self, address: Address, commits: Iterable[Recorded]) -> bool:
        """Retry a thread that was set aside, given its commits up to the marks; return whether it is indexed now."""
        return await self._run(lambda: self._take_up(address, list(commits)))

    async def is_sound(self) -> bool:
        """Whether SQLite finds nothing wrong with the file. Reads all of it."""
        return await self._run(self._ledger.sound)

    async def go_live(self, folder: IndexFolder, before: int) -> int | None:
        """Close the file and make it live in place of generation ``before``, and return its number.

        Returns ``None``, and does nothing, if it lacks something that ``before`` has. Nobody can write that meanwhile,
        nor afterwards.

        Raises:
            NotLive: generation ``before`` is not live.
            OSError: the folder cannot be written.
        """
        return await self._run(lambda: self._go_live(folder, before))

    async def close(self) -> None:
        """Close the file after the current operation."""
        try:
            await self._run(self._open.close)
        finally:
            self._thread.shutdown(wait=False)

    async def _history(self, address: Address, batch: Batch) -> History:
        """Read a thread's history up to the end of a batch."""
        end = batch.positions[self._histories.shard(address)]
        history: list[Recorded] = []
        try:
            async for each in self._histories.after(address, 0):
                if each.position.seq > end:
                    break
                history.append(each)
        except Corrupt as fault:
            return fault
        return history

    async def _run(self, work: Callable[[], T]) -> T:
        # A cancelled caller still waits for the work, so that the file is not closed under it.
        running = asyncio.get_running_loop().run_in_executor(self._thread, work)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait({running})
            raise

    def _begin(self) -> None:
        try:
            self._writer = open_for_writing(self.path, self._may_write)
        except Corrupt as fault:
            raise Unusable(fault.message) from fault
        self._open.callback(self._writer.close)
        self._ledger = Ledger(self.path)
        self._open.callback(self._ledger.close)
        self._marks = self._writer.marks()
        self._erasures = self._writer.erasures()
        self._aside = {each.address: each for each in self._ledger.aside()}

    def _take(self, batch: Batch, histories: Mapping[Address, History]) -> list[Address]:
        """Add a batch, or return the restored threads whose histories it takes; then nothing of it was added."""
        commits, restoring, erased = self._read(batch)
        if restored := self._writer.find_restored(self._without_aside(restoring)):
            if not histories:
                return restored
            commits = self._with_histories(commits, histories)
        positions, last = {**self._marks, **batch.positions}, dict(batch.commits)
        hashes = {shard: record_hash(each.body) for shard, each in last.items() if each.seq == positions[shard]}
        try:
            self._writer.apply(self._without_aside(commits), positions, erased, hashes)
        except Corrupt:
            self._one_by_one(commits)
            self._writer.apply([], positions, erased, hashes)
        self._marks = positions
        if erased:
            self._erasures = self._writer.erasures()
        return []

    def _read(self, batch: Batch) -> tuple[list[Recorded], list[Recorded], dict[int, int]]:
        """Decode a batch, and set aside what is unreadable.

        Returns the commits, those of them that restore a thread, and by shard the newest that requests an erasure.
        """
        commits: list[Recorded] = []
        restoring: list[Recorded] = []
        erased: dict[int, int] = {}
        for shard, stored in batch.commits:
            aside = self._aside and address_of(stored.subject) in self._aside
            try:
                # Without its headers, which take as long to parse and of which nothing is indexed.
                recorded = decode_recorded(stored.body, Position(shard, stored.seq))
            except Corrupt as fault:
                if not aside:
                    self._set_aside(address_of(stored.subject), stored.seq, locate_fault(fault, stored.seq, shard))
                continue
            if not aside:
                commits.append(recorded)
            for event in recorded.commit.events:
                if isinstance(event, ThreadEvent) and event.request is not None:
                    # Also of a thread that was set aside: the file may still have bytes of it.
                    erased[shard] = stored.seq
                elif isinstance(event, ThreadEvent) and event.restores and not aside:
                    restoring.append(recorded)
        return commits, restoring, erased

    def _with_histories(self, commits: Sequence[Recorded], histories: Mapping[Address, History]) -> list[Recorded]:
        """Return commits with those of some threads replaced by their histories."""
        whole = [each for each in commits if _address(each) not in histories]
        for address, history in histories.items():
            if isinstance(history, Corrupt):
                last = max(each.position.seq for each in commits if _address(each) == address)
                self._set_aside(address, last, history)
            else:
                whole += history
        return whole

    def _one_by_one(self, commits: Sequence[Recorded]) -> None:
        threads: dict[Address, list[Recorded]] = {}
        for each in self._without_aside(commits):
            threads.setdefault(_address(each), []).append(each)
        for address, history in threads.items():
            # A deleted thread loses its texts, so one that is restored is taken whole.
            whole = any(restores_thread(each.commit) for each in history)
            for some in [history] if whole else [[each] for each in history]:
                try:
                    self._writer.apply(some, self._marks)
                except Corrupt as fault:
                    self._set_aside(address, some[-1].position.seq, fault)
                    break

    def _without_aside(self, commits: Sequence[Recorded]) -> Sequence[Recorded]:
        if not self._aside:
            return commits
        return [each for each in commits if _address(each) not in self._aside]

    def _set_aside(self, address: Address, seq: int, fault: Corrupt) -> None:
        # The note comes first: if the process dies in between, the index does not show a wrong thread.
        self._ledger.set_aside(address, seq, fault)
        self._writer.leave_out(*address)
        self._aside = {each.address: each for each in self._ledger.aside()}
        self.refused.append(self._aside[address])

    def _take_up(self, address: Address, commits: Sequence[Recorded]) -> bool:
        try:
            self._writer.apply(commits, self._marks)
        except Corrupt:
            return False
        self._ledger.take_up(address)
        self._aside.pop(address, None)
        return True

    def _go_live(self, folder: IndexFolder, before: int) -> int | None:
        with _held_marks(folder.file(before)) as marks:
            if marks is None or any(self._marks.get(shard, 0) < seq for shard, seq in marks.items()):
                return None
            pointer = folder.pointer()
            if before != (pointer.generation if pointer is not None else 0):
                raise NotLive
            self._open.close()
            with closing(sqlite3.connect(self.path)) as db:
                # The write-ahead log has another name than the file will have.
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            generation = folder.next_generation()
            self.path.replace(folder.file(generation))
            folder.point(generation)
            return generation


@contextmanager
def _held_marks(file: Path) -> Iterator[dict[int, int] | None]:
    """The marks of an index file that nobody can write during the block; ``None`` if somebody does, and does not end.

    A file that is missing, damaged or of another format has no marks.
    """
    if not file.exists():
        yield {}
        return
    with closing(sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None)) as db:
        marks: dict[int, int] | None = {}
        try:
            db.execute(f"PRAGMA busy_timeout = {BUSY}")
            db.execute("BEGIN IMMEDIATE")
            marks = dict(db.execute("SELECT shard, seq FROM mark"))
        except sqlite3.DatabaseError as fault:
            if is_busy(fault):
                marks = None
            elif not is_damage(fault) and fault.sqlite_errorcode != sqlite3.SQLITE_ERROR:
                raise
        yield marks


def _address(recorded: Recorded) -> Address:
    return Address(recorded.commit.tenant, recorded.commit.thread)
