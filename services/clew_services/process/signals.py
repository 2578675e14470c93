"""Blocks that end at a signal or an event, also during startup."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from clew_services.process.supervisor import Part

_LOG: Final = logging.getLogger("clew.up")
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextlib.asynccontextmanager
async def until_told(stop: asyncio.Event) -> AsyncIterator[Callable[[], object]]:
    """End the block, without an error, when ``stop`` is set; the yielded function disarms this."""
    task = asyncio.current_task()
    assert task is not None

    async def cancel_at_stop() -> None:
        await stop.wait()
        task.cancel()

    watch = asyncio.create_task(cancel_at_stop())
    try:
        yield watch.cancel
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
        task.uncancel()
    finally:
        watch.cancel()


@contextlib.asynccontextmanager
async def until_signalled(parts: Sequence[Part]) -> AsyncIterator[None]:
    """End the block, without an error, at the first signal; at the second, kill the parts that are still stopping."""
    loop, task, stopping = asyncio.get_running_loop(), asyncio.current_task(), False
    assert task is not None

    def stop() -> None:
        nonlocal stopping
        if stopping:
            _LOG.warning("stopping at once")
            for part in parts:
                part.kill()
        else:
            stopping = True
            task.cancel()

    for number in _SIGNALS:
        loop.add_signal_handler(number, stop)
    try:
        yield
    except asyncio.CancelledError:
        if not stopping:
            raise
        task.uncancel()
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
