"""Lanes: work runs in order within a lane, and concurrently across lanes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

Work = Callable[[bool], Awaitable[bool]]
"""Work in a lane. Its argument says whether its predecessor was settled; it returns whether it was settled itself, and
must not raise."""


class Lanes:
    """Starts work at once, or when its predecessor in the same lane has ended.

    The first work in an empty lane has no predecessor, which counts as settled.
    """

    def __init__(self) -> None:
        self._tails: dict[str, asyncio.Task[bool]] = {}
        self._tasks: set[asyncio.Task[bool]] = set()

    def put(self, lane: str | None, work: Work) -> None:
        """Add work to the end of a lane, or outside of all lanes."""
        before = self._tails.get(lane) if lane is not None else None
        task = asyncio.create_task(_after(before, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if lane is not None:
            self._tails[lane] = task
            task.add_done_callback(partial(self._leave, lane))

    async def empty(self, within: float) -> bool:
        """Wait at most ``within`` seconds until all work has ended; whether it has. The rest is cancelled."""
        if not self._tasks:
            return True
        _, late = await asyncio.wait(self._tasks, timeout=within)
        for task in late:
            task.cancel()
        return not late

    async def abandon(self) -> None:
        """Cancel all work, and wait until it has ended."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def wait_any(self, within: float) -> None:
        """Wait at most ``within`` seconds until any work has ended."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within, return_when=asyncio.FIRST_COMPLETED)

    def __len__(self) -> int:
        return len(self._tasks)

    def _leave(self, lane: str, task: asyncio.Task[bool]) -> None:
        if self._tails.get(lane) is task:
            del self._tails[lane]


async def _after(before: asyncio.Task[bool] | None, work: Work) -> bool:
    if before is None:
        return await work(True)
    await asyncio.wait([before])
    return await work(not before.cancelled() and before.result())
