"""Work in lanes: one thing after another within a lane, side by side across lanes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import partial

Work = Callable[[bool], Awaitable[bool]]
"""Something to be done in its turn. It is told whether everything before it in its lane was settled, says whether it
was itself, and must not raise."""


class Lanes:
    """Starts work at once, or when the work before it in the same lane is through.

    A lane begins anew, as settled, whenever it has run empty.
    """

    def __init__(self) -> None:
        self._tails: dict[str, asyncio.Task[bool]] = {}
        self._tasks: set[asyncio.Task[bool]] = set()

    def put(self, lane: str | None, work: Work) -> None:
        """Add work to the end of a lane, or to none."""
        before = self._tails.get(lane) if lane is not None else None
        task = asyncio.create_task(_after(before, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if lane is not None:
            self._tails[lane] = task
            task.add_done_callback(partial(self._leave, lane))

    async def empty(self, within: float) -> bool:
        """Wait until all work is through, for at most ``within`` seconds; whether it is. The rest is cancelled."""
        if not self._tasks:
            return True
        _, late = await asyncio.wait(self._tasks, timeout=within)
        for task in late:
            task.cancel()
        return not late

    async def abandon(self) -> None:
        """Cancel all work that is not through, and wait until it has ended."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)

    async def some_done(self, within: float) -> None:
        """Wait until any work is through, for at most ``within`` seconds."""
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
