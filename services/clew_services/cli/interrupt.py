"""A command that Ctrl-C ends: in order if that is soon done, and where it stands otherwise."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from collections.abc import Coroutine
from types import FrameType
from typing import Any, Final, TypeVar

IN_ORDER: Final = 5.0
"""Seconds that a command may take to end in order."""

T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Do it to its end, in an event loop of its own.

    Ctrl-C ends it in order. If that takes more than :data:`IN_ORDER` seconds, because somebody does not take what is
    printed or something is computed at length, or when Ctrl-C comes again, the process ends where it stands. Whatever
    can be interrupted here can be killed, too.

    Raises:
        KeyboardInterrupt: it was ended in order.
    """
    return asyncio.run(_within_bounds(work))


async def _within_bounds(work: Coroutine[Any, Any, T]) -> T:
    in_order = signal.getsignal(signal.SIGINT)
    elsewhere = threading.current_thread() is not threading.main_thread()
    if sys.platform == "win32" or elsewhere or not callable(in_order) or in_order is signal.default_int_handler:
        return await work  # whoever runs this sees to signals otherwise

    def interrupted(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.setitimer(signal.ITIMER_REAL, IN_ORDER)
        in_order(number, frame)

    # What the loop is told wakes it up, even if it was about to sleep when the signal came.
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, lambda: None)
    signal.signal(signal.SIGINT, interrupted)
    try:
        return await work
    finally:
        waits = signal.getsignal(signal.SIGINT) is interrupted
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, in_order if waits else signal.SIG_DFL)
