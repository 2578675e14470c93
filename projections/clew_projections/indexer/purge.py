"""The purge of a machine's index: after an erasure, no file of its folder has bytes left of what was erased.

The live file is copied (see :mod:`clew_projections.index.clean_copy`) while it is read and written, and the copy
becomes the live generation. Then every other generation that may have such bytes is deleted, and so is an unfinished
rebuild.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import threading
import time
from pathlib import Path
from typing import Final

from clew_projections.index.clean_copy import copy_clean, is_clean
from clew_projections.index.index_folder import IndexFolder, remove_database
from clew_projections.indexer.generation_file import IndexGeneration

REST: Final = 10.0
"""How many times as long as a copy took no other is made: what is erased meanwhile is purged together."""
AGAIN: Final = 10.0
"""Seconds after which a copy that failed is made again."""

_LOG: Final = logging.getLogger("clew.index")


class Purge:
    """Purges the index in a folder; used by the indexer that holds the lease, one step at a time."""

    def __init__(self, folder: IndexFolder) -> None:
        self._folder = folder
        self._lock = folder.lock("rebuild")
        self._not_before = 0.0
        self._swept: int | None = None

    def sweep(self, generation: int, book: IndexGeneration) -> None:
        """Delete the other files that may have more left than a live one that was just opened; does so once.

        While a rebuild is running it does nothing: the rebuild's file may have such bytes.

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
        finally:
            self._lock.give_back()
        self._swept = generation

    def is_due(self, generation: int, book: IndexGeneration) -> bool:
        """Whether the live file has to be copied, and may be now."""
        return not book.is_clean and self._swept == generation and time.monotonic() >= self._not_before

    async def copy(self, generation: int) -> None:
        """Make a clean copy of the live generation live, unless a rebuild is running or something else became live.

        It may be behind the original, and is brought up to date from the log. Faults of the disk are logged.
        """
        if not self._lock.take():
            return
        began = time.monotonic()
        number = self._folder.next_generation()
        live = False
        try:
            await _copy_in_thread(self._folder.file(generation), self._folder.file(number))
            pointer = self._folder.pointer()
            if pointer is not None and pointer.generation == generation:
                self._folder.point(number)
                live = True
                _LOG.info("the index was copied without what was erased: generation %d is live", number)
            self._not_before = time.monotonic() + REST * (time.monotonic() - began)
        except (OSError, sqlite3.Error) as fault:
            _LOG.error("the index still has what was erased, and is copied later: %s", fault)
            self._not_before = time.monotonic() + AGAIN
        finally:
            if not live:
                self._folder.remove(number)
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
        raise
