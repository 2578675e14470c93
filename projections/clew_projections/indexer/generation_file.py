"""One generation of the index, open to be written: what comes out of the log goes in here, batch by batch.

SQLite makes whoever asks it wait, so all of it happens in one worker thread of its own, and reading commits as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Self, TypeVar

from clew_events.commit import Recorded, body_hash
from clew_events.errors import Corrupt
from clew_events.subjects import Address, address_of
from clew_projections.history.histories import read
from clew_projections.index.database import Unusable, open_for_writing
from clew_projections.index.notes import NOTHING, Ledger, ParkedThread, Place
from clew_projections.index.writer import IndexWriter
from clew_projections.nats.stream_messages import StoredMessage

T = TypeVar("T")


class Batch:
    """What comes next of the log: commits with their shards, in its order, and how far that reaches in each shard.

    A shard reaches further than its last commit where the end of the log was removed.
    """

    def __init__(
        self, commits: Sequence[tuple[int, StoredMessage]] = (), reached: Mapping[int, int] | None = None
    ) -> None:
        self.commits = list(commits)
        self.reached = dict(reached or {})

    def __bool__(self) -> bool:
        return bool(self.reached)

    def __len__(self) -> int:
        return len(self.commits)

    def add(self, later: Batch) -> None:
        """Take what comes after this."""
        self.commits += later.commits
        self.reached |= later.reached


class Book:
    """A generation that this process writes; to be used by one task at a time.

    Calls raise ``Unavailable`` or ``sqlite3.Error`` where the disk or the file is at fault; nothing is then half done.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.refused: list[ParkedThread] = []
        """Threads that were set aside since somebody last looked."""
        self._thread = ThreadPoolExecutor(1, "clew-index")
        self._open = ExitStack()
        self._aside: dict[Address, ParkedThread] = {}
        self._marks: dict[int, int] = {}
        self._writer: IndexWriter
        self._ledger: Ledger

    @classmethod
    async def open(cls, path: Path) -> Self:
        """Open a generation, and make it if it is not there.

        Raises:
            Unusable: the file is none, or of another format.
            Unavailable, sqlite3.Error: it is damaged, or the disk does not do its part.
        """
        book = cls(path)
        try:
            await book._run(book._begin)
        except BaseException:
            await book.close()
            raise
        return book

    @property
    def marks(self) -> dict[int, int]:
        """Shard to the sequence up to which everything is in the index."""
        return dict(self._marks)

    @property
    def aside(self) -> list[ParkedThread]:
        """The threads that are left out."""
        return list(self._aside.values())

    async def places(self) -> list[Place]:
        """The last commit of every shard that was taken, and its hash."""
        return await self._run(self._ledger.places)

    async def take(self, batch: Batch) -> None:
        """Put in what comes next of the log.

        A thread whose commit cannot be read or does not continue it is set aside; the others go on.
        """
        await self._run(lambda: self._take(batch))

    async def take_up(self, address: Address, commits: Iterable[Recorded]) -> bool:
        """Try a thread again that was set aside, with its commits up to the marks; whether it is in now."""
        return await self._run(lambda: self._take_up(address, list(commits)))

    async def sound(self) -> bool:
        """Whether SQLite finds nothing wrong with the file. Reads all of it."""
        return await self._run(self._ledger.sound)

    async def close(self) -> None:
        """Close the file, after what is under way."""
        try:
            await self._run(self._open.close)
        finally:
            self._thread.shutdown(wait=False)

    async def _run(self, work: Callable[[], T]) -> T:
        # Whoever is cancelled meanwhile leaves when the work is done: a file is never closed under it.
        running = asyncio.get_running_loop().run_in_executor(self._thread, work)
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait({running})
            raise

    def _begin(self) -> None:
        try:
            self._writer = open_for_writing(self.path)
        except Corrupt as fault:
            raise Unusable(fault.message) from fault
        self._open.callback(self._writer.close)
        self._ledger = Ledger(self.path)
        self._open.callback(self._ledger.close)
        self._marks = self._writer.marks()
        self._aside = {each.address: each for each in self._ledger.aside()}

    def _take(self, batch: Batch) -> None:
        commits: list[Recorded] = []
        last: dict[int, StoredMessage] = {}
        for shard, stored in batch.commits:
            last[shard] = stored
            if self._aside and address_of(stored.subject) in self._aside:
                continue
            try:
                commits.append(read(stored, shard))
            except Corrupt as fault:
                self._set_aside(address_of(stored.subject), stored.seq, fault)
        reached = {**self._marks, **batch.reached}
        try:
            self._writer.apply(self._without_aside(commits), reached)
        except Corrupt:
            self._one_by_one(commits)
            self._writer.apply([], reached)
        self._marks = reached
        self._ledger.note(_place(shard, seq, last.get(shard)) for shard, seq in batch.reached.items())

    def _one_by_one(self, commits: Sequence[Recorded]) -> None:
        threads: dict[Address, list[Recorded]] = {}
        for each in self._without_aside(commits):
            threads.setdefault(Address(each.commit.tenant, each.commit.thread), []).append(each)
        for address, of_thread in threads.items():
            for each in of_thread:
                try:
                    self._writer.apply([each], self._marks)
                except Corrupt as fault:
                    self._set_aside(address, each.position.seq, fault)
                    break

    def _without_aside(self, commits: Sequence[Recorded]) -> Sequence[Recorded]:
        if not self._aside:
            return commits
        return [each for each in commits if Address(each.commit.tenant, each.commit.thread) not in self._aside]

    def _set_aside(self, address: Address, seq: int, fault: Corrupt) -> None:
        # First the note, then out of the index: whatever happens in between, the thread is not shown as it is not.
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


def _place(shard: int, seq: int, last: StoredMessage | None) -> Place:
    return Place(shard, seq, body_hash(last.body) if last is not None and last.seq == seq else NOTHING)
