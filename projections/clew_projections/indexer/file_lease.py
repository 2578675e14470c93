"""The lease on the index of a machine: one process indexes at a time, and another takes over at once when it dies.

Dedicated processes, such as ``clew serve index``, have precedence. Other processes need the index for their queries:
they index themselves as long as there is no dedicated process, and step down when one starts.
"""

from __future__ import annotations

import asyncio
from typing import Final

from clew_projections.index.index_folder import IndexFolder
from clew_projections.wait import wait_for_event

OFTEN: Final = 0.25
"""Seconds between attempts of a dedicated process."""
SELDOM: Final = 2.0
"""Seconds before each attempt of any other process, the first included, so that dedicated processes start first."""


class Lease:
    """This process's lease on the index in a folder."""

    def __init__(self, folder: IndexFolder, *, dedicated: bool) -> None:
        """``dedicated`` if indexing is this process's role."""
        self._folder = folder
        self._dedicated = dedicated
        self._indexer_lock = folder.lock("feeder")
        self._dedicated_lock = folder.lock("dedicated")

    @property
    def held(self) -> bool:
        """Whether this process may index; check it regularly, because it may have to step down."""
        if not self._dedicated and self._indexer_lock.held and not self._no_dedicated():
            self._indexer_lock.give_back()
        return self._indexer_lock.held

    async def wait(self, stop: asyncio.Event) -> bool:
        """Wait until this process may index or ``stop`` is set; return whether it may index.

        Raises:
            OSError: the folder cannot be created or written.
        """
        while not stop.is_set():
            if self.held:
                return True
            if not self._dedicated:
                await wait_for_event(stop, SELDOM)
            if not stop.is_set() and (self._dedicated or self._no_dedicated()) and self._take():
                return True
            if self._dedicated:
                await wait_for_event(stop, OFTEN)
        return False

    def give_back(self) -> None:
        """Release the lease."""
        self._indexer_lock.give_back()
        self._dedicated_lock.give_back()

    def _take(self) -> bool:
        self._folder.make()
        if self._dedicated:
            # Also while another process indexes: one that is not dedicated then steps down.
            self._dedicated_lock.take(shared=True)
        return self._indexer_lock.take()

    def _no_dedicated(self) -> bool:
        self._folder.make()
        if not self._dedicated_lock.take():
            return False
        self._dedicated_lock.give_back()
        return True
