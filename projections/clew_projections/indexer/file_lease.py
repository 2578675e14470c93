"""Who feeds the index of a machine: one process at a time, and when it dies another at once.

Some processes have it for their business, as ``clew serve index`` has. Others ask the index and would be lost without
it: they feed it themselves as long as nobody is there whose business it is, and step down when one comes.
"""

from __future__ import annotations

import asyncio
from typing import Final

from clew_projections.index.index_folder import IndexFolder
from clew_projections.wait import wait_for_event

OFTEN: Final = 0.25
"""Seconds between looks of a process whose business it is."""
SELDOM: Final = 2.0
"""Seconds between looks of one that would step in; the first comes as late, so that nobody is overtaken at a start."""


class Lease:
    """This process's claim to feed the index in a folder."""

    def __init__(self, folder: IndexFolder, *, dedicated: bool) -> None:
        """``dedicated`` if feeding is this process's business."""
        self._folder = folder
        self._dedicated = dedicated
        self._feeder = folder.lock("feeder")
        self._business = folder.lock("dedicated")

    @property
    def held(self) -> bool:
        """Whether this process may feed; look again now and then, because it may have to step down."""
        if not self._dedicated and self._feeder.held and not self._nobody_else():
            self._feeder.give_back()
        return self._feeder.held

    async def wait(self, stop: asyncio.Event) -> bool:
        """Wait until this process may feed, or ``stop`` is set; whether it may.

        Raises:
            OSError: the folder cannot be made or written to.
        """
        while not stop.is_set():
            if self.held:
                return True
            if not self._dedicated:
                await wait_for_event(stop, SELDOM)
            if not stop.is_set() and (self._dedicated or self._nobody_else()) and self._take():
                return True
            if self._dedicated:
                await wait_for_event(stop, OFTEN)
        return False

    def give_back(self) -> None:
        """Let another process feed."""
        self._feeder.give_back()
        self._business.give_back()

    def _take(self) -> bool:
        self._folder.make()
        if self._dedicated:
            # Also while another process feeds: one that only steps in gives way to this.
            self._business.take(shared=True)
        return self._feeder.take()

    def _nobody_else(self) -> bool:
        self._folder.make()
        if not self._business.take():
            return False
        self._business.give_back()
        return True
