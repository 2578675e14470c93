"""The start of the indexer: the current generation if it is usable, else one from a snapshot, else an empty one."""

from __future__ import annotations

import logging
import shutil
import sqlite3
from functools import partial
from typing import Final

from clew_events.errors import Corrupt, Unavailable
from clew_projections.history.histories import Histories
from clew_projections.index.database import Unusable, is_damage
from clew_projections.index.index_folder import IndexFolder
from clew_projections.index.notes import check_agrees, ends
from clew_projections.indexer.generation_file import IndexGeneration
from clew_projections.indexer.snapshots import Snapshots
from clew_projections.nats.jetstream import JetStream

_LOG: Final = logging.getLogger("clew.index")


class Start:
    """Opens a generation for the indexer that holds the lease."""

    def __init__(self, js: JetStream, histories: Histories, folder: IndexFolder, snapshots: Snapshots) -> None:
        self._js = js
        self.histories = histories
        """Reads single threads of the log."""
        self._folder = folder
        self._snapshots = snapshots

    async def open(self) -> tuple[int, IndexGeneration]:
        """Open a generation that agrees with the log; return its number and the generation. Removes unusable ones.

        Raises:
            Unavailable: JetStream does not answer.
            OSError, sqlite3.Error: the disk fails.
        """
        self._sweep()
        pointer = self._folder.pointer()
        known = [pointer.generation] if pointer is not None else self._folder.generations()[::-1]
        unusable: list[int] = []
        for generation in known:
            book = await self._usable(generation)
            if book is None:
                unusable.append(generation)
                continue
            if pointer is None:
                self._folder.point(generation, await ends(self._js, self.histories.shards))
            return generation, book
        generation = self._folder.next_generation()
        self._folder.point(generation, await ends(self._js, self.histories.shards))
        for each in unusable:
            self._folder.remove(each)
        return generation, await self._anew(generation)

    async def _usable(self, generation: int) -> IndexGeneration | None:
        file = self._folder.file(generation)
        if not file.exists():
            return None
        try:
            return await self._open_agreeing(generation)
        except Unusable as fault:
            _LOG.warning("the index is rebuilt: %s is unusable: %s", file, fault)
            return None

    async def _anew(self, generation: int) -> IndexGeneration:
        file = self._folder.file(generation)
        try:
            found = await self._snapshots.usable()
        except Unavailable as fault:
            _LOG.warning("the index starts without a snapshot: %s", fault)
            found = []
        for snapshot in found:
            try:
                await self._snapshots.load(snapshot, file)
                book = await self._open_agreeing(generation)
            except (ValueError, Unusable, Unavailable) as fault:
                _LOG.warning("the snapshot %s of the index is unusable: %s", snapshot.name, fault)
                self._folder.remove(generation)
            else:
                _LOG.info("the index starts from the snapshot of %s", snapshot.made_at)
                return book
        _LOG.info("the index starts from the beginning of the log")
        return await self._open(generation)

    async def _open(self, generation: int) -> IndexGeneration:
        may_write = partial(self._folder.is_live, generation)
        return await IndexGeneration.open(self._folder.file(generation), self.histories, may_write)

    async def _open_agreeing(self, generation: int) -> IndexGeneration:
        """Open an existing generation and check it against the log; raises ``Unusable`` if it does not agree."""
        book = None
        try:
            book = await self._open(generation)
            await check_agrees(self._js, self.histories.shards, book.marks, await book.places())
            await self._take_up_again(book)
        except BaseException as fault:
            if book is not None:
                await book.close()
            if isinstance(fault, sqlite3.DatabaseError) and is_damage(fault):
                raise Unusable(str(fault)) from fault
            raise
        return book

    async def _take_up_again(self, book: IndexGeneration) -> None:
        for each in book.aside:
            shard = self.histories.shard(each.address)
            mark = book.marks.get(shard, 0)
            try:
                commits = [found async for found in self.histories.after(each.address, 0) if found.position.seq <= mark]
            except Corrupt:
                continue
            if await book.take_up(each.address, commits):
                _LOG.warning("thread %s of tenant %s is in the index again", each.thread, each.tenant)
            else:
                _LOG.error("thread %s of tenant %s is not in the index: %s", each.thread, each.tenant, each.reason)

    def _sweep(self) -> None:
        for left in self._folder.path.glob("snapshot-*"):
            shutil.rmtree(left, ignore_errors=True)
        for left in (
            *self._folder.path.glob("*.part*"),
            *self._folder.path.glob("clean.db*"),
            *self._folder.path.glob("current.*"),
            *self._folder.path.glob("proved.*"),
        ):
            left.unlink(missing_ok=True)
