"""Running until a signal says stop, also while it starts."""

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
    """Ends the block quietly when ``stop`` is set, until the block says, by what it is given, that it sees to that."""
    task = asyncio.current_task()
    assert task is not None

    async def told() -> None:
        await stop.wait()
        task.cancel()

    telling = asyncio.create_task(told())
    try:
        yield telling.cancel
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
        task.uncancel()
    finally:
        telling.cancel()


@contextlib.asynccontextmanager
async def until_signalled(parts: Sequence[Part]) -> AsyncIterator[None]:
    """Ends the block quietly at the first signal; at the second, kills the parts that are still stopping."""
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
