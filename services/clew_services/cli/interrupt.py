"""Ctrl-C in a command: an orderly end within a time limit, and then an immediate one."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import Coroutine
from types import FrameType
from typing import Any, Final, TypeVar

IN_ORDER: Final = 5.0
"""Seconds that the orderly end of a command may take."""

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end in an event loop of its own.

    Ctrl-C cancels it. If that takes more than :data:`IN_ORDER` seconds, because output is not read or a computation is
    long, or at a second Ctrl-C, the process ends at once. So ``work`` must be safe to kill.

    Raises:
        KeyboardInterrupt: it was cancelled by Ctrl-C and ended in time.
    """
    return asyncio.run(_within_bounds(work))


async def _within_bounds(work: Coroutine[Any, Any, T]) -> T:
    handler = signal.getsignal(signal.SIGINT)
    in_thread = threading.current_thread() is not threading.main_thread()
    if sys.platform == "win32" or in_thread or not callable(handler) or handler is signal.default_int_handler:
        return await work  # the caller handles signals itself

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, IN_ORDER)
        handler(number, frame)

    # The loop's own handler wakes it up, even if it was about to sleep when the signal came.
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    signal.signal(signal.SIGINT, on_interrupt)
    try:
        return await work
    finally:
        pending = signal.getsignal(signal.SIGINT) is on_interrupt
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, handler if pending else signal.SIG_DFL)
