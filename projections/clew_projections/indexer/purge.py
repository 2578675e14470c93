"""The purge of a machine's index: after an erasure, no file of its folder has bytes left of what was erased.

The live file is copied (see :mod:`clew_projections.index.clean_copy`) while it is read and written. The copy is brought
up to date from the log, and becomes the live generation once it has all that the original has, so lists never step
back. Then every other generation that may have such bytes is deleted, and so is an unfinished rebuild. Readers close a
deleted file soon; until all have, its bytes are on the disk, and the folder does not count as clean.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from pathlib import Path
from typing import Final

from clew_events.errors import Unavailable
from clew_projections.history.histories import Histories
from clew_projections.index.clean_copy import copy_clean, is_clean
from clew_projections.index.database import Unusable
from clew_projections.index.index_folder import IndexFolder, remove_database
from clew_projections.index.writer import NotLive
from clew_projections.indexer.generation_file import IndexGeneration
from clew_projections.indexer.log_follower import Sources, switch

REST: Final = 10.0
"""How many times as long as a copy took no other is made: what is erased meanwhile is purged together."""
AGAIN: Final = 10.0
"""Seconds after which a copy that failed is made again."""
PATIENCE: Final = 30.0
"""Seconds in which readers close a deleted file, or the log says that one does not."""

_LOG: Final = logging.getLogger("clew.index")


class Purge:
    """Purges the index in a folder; used by the indexer that holds the lease, one step at a time."""

    def __init__(self, folder: IndexFolder, histories: Histories, sources: Sources) -> None:
        """``histories`` reads single threads, and ``sources`` returns readers of all shards of the log."""
        self._folder = folder
        self._histories = histories
        self._sources = sources
        self._lock = folder.lock("rebuild")
        self._not_before = 0.0
        self._swept: int | None = None
        self._waits_since: float | None = None

    def sweep(self, generation: int, book: IndexGeneration) -> None:
        """Delete the other files that may have more left than a live one that was just opened.

        Done once nobody reads a deleted file any more. While a rebuild is running it does nothing: the rebuild's file
        may have such bytes.

        Raises:
            OSError: a file cannot be deleted.
        """
        if self._swept == generation or not self._lock.take():
            return
        try:
            clean = {shard: mark.clean for shard, mark in book.erasures.items()}
            for number in self._folder.generations():
                if number != generation and not is_clean(self._folder.file(number), clean):
                    self._folder.remove(number)
            if not is_clean(self._folder.rebuild_file, clean):
                remove_database(self._folder.rebuild_file)
            if not self._is_read():
                self._swept = generation
        finally:
            self._lock.give_back()

    def _is_read(self) -> bool:
        """Whether a process has a deleted file open; logged once if it does not close it."""
        now = time.monotonic()
        if not self._folder.is_deleted_read():
            self._waits_since = None
            return False
        if self._waits_since is None:
            self._waits_since = now
        elif now - self._waits_since > PATIENCE:
            self._waits_since = float("inf")
            _LOG.warning("a process keeps a deleted file of the index open, with what was erased: restart it")
        return True

    def is_due(self, generation: int, book: IndexGeneration) -> bool:
        """Whether the live file has to be copied, and may be now."""
        return not book.is_clean and self._swept == generation and time.monotonic() >= self._not_before

    async def copy(self, generation: int) -> None:
        """Make a clean copy of the live generation live, unless a rebuild is running or something else became live.

        What is erased after the copy began is not clean in it, and is purged by another. Faults of the disk are logged.
        """
        if not self._lock.take():
            return
        began = time.monotonic()
        file = self._folder.copy_file
        try:
            await _copy_in_thread(self._folder.file(generation), file)
            self._not_before = time.monotonic() + REST * (time.monotonic() - began)
            copy = await IndexGeneration.open(file, self._histories)
            try:
                number = await switch(self._folder, generation, copy, self._sources())
            finally:
                await copy.close()
            _LOG.info("the index was copied without what was erased: generation %d is live", number)
        except NotLive:
            return
        except (OSError, sqlite3.Error, Unavailable, Unusable) as fault:
            _LOG.error("the index still has what was erased, and is copied later: %s", fault)
            self._not_before = time.monotonic() + AGAIN
        finally:
            remove_database(file)
            self._lock.give_back()

    def clean(self, generation: int, book: IndexGeneration) -> dict[int, int]:
        """Return, by shard, the sequence up to which nothing of what was erased is left in the folder."""
        clean = book.marks
        for shard, mark in book.erasures.items():
            if self._swept != generation:
                clean[shard] = 0
            elif mark.clean < mark.newest:
                clean[shard] = mark.clean
        return clean


async def _copy_in_thread(source: Path, target: Path) -> None:
    stop = threading.Event()
    copying = asyncio.create_task(asyncio.to_thread(copy_clean, source, target, stop))
    try:
        await asyncio.shield(copying)
    except asyncio.CancelledError:
        # It must not go on under a lock that was given back.
        stop.set()
        await asyncio.wait({copying})
        copying.exception()  # "interrupted", which was asked for: asyncio would log it as never retrieved
        raise
