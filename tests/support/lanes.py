"""Load in lanes: so many at once, each doing one thing after another until it is told to stop."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self


class InLanes(ABC):
    """What runs in lanes. Each looks at ``stopped`` before it goes on."""

    def __init__(self) -> None:
        self.stopped = False

    @asynccontextmanager
    async def running(self, at_once: int) -> AsyncIterator[Self]:
        """So many at once until the block ends, and then until each has its answer."""
        lanes = [asyncio.create_task(self._lane(lane)) for lane in range(at_once)]
        try:
            yield self
        finally:
            self.stopped = True
            await asyncio.gather(*lanes)

    @abstractmethod
    async def _lane(self, lane: int) -> None:
        """One thing after another, until stopped."""
