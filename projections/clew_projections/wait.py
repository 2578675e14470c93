"""Waits: for an event, a timeout, or the end of tasks, and work that is repeated until an event."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from logging import Logger
from typing import TypeVar

T = TypeVar("T")


async def wait_for_event(event: asyncio.Event, seconds: float) -> bool:
    """Wait until an event is set, or until the timeout in seconds; return whether it is set."""
    if not event.is_set():
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return event.is_set()
    return True


async def cancel(task: asyncio.Task[None]) -> None:
    """Cancel a task, and wait until it has ended.

    Raises what the task raises instead of ending. If the caller is cancelled meanwhile, that is not lost, as it would
    be if the caller suppressed the ``CancelledError`` of the task.
    """
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    if not task.cancelled():
        task.result()


async def run_until_first(*work: Coroutine[None, None, object]) -> None:
    """Run coroutines side by side until one of them ends, then cancel the others and wait for them.

    Raises whatever one of them raises, also while it is cancelled.
    """
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for task in tasks:
        if not task.cancelled():
            task.result()


async def run_all(*work: Coroutine[None, None, T]) -> list[T]:
    """Run coroutines side by side until all have ended, or until one raises; then cancel the others and wait for them.

    Returns what they returned, in their order. Raises what the first of them raised.
    """
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def repeat_until(
    stop: asyncio.Event,
    step: Callable[[], Awaitable[float]],
    *,
    name: str,
    log: Logger,
    faults: tuple[type[Exception], ...],
    pause: float,
) -> None:
    """Take one step after another until ``stop`` is set. A step returns for how many seconds to rest after it.

    A step that raises one of ``faults`` is taken again after ``pause`` seconds. The fault is logged as a warning, once
    for as long as it stays the same: "``name`` waits: …". Everything else that a step raises is raised.
    """
    trouble = ""
    while not stop.is_set():
        try:
            rest, trouble = await step(), ""
        except faults as fault:
            if str(fault) != trouble:
                trouble = str(fault)
                log.warning("%s waits: %s", name, fault)
            rest = pause
        await wait_for_event(stop, rest)
