"""Waiting for what may lose a cancellation, as nats-py does.

Before Python 3.12 ``asyncio.wait_for`` gives its result to whoever was cancelled in the very moment in which it was
there, and nats-py waits in that way for every step of a connection: who cancels is not heard, and waits for ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

AGAIN: Final = 0.1
"""Seconds after which what goes on although it was cancelled is cancelled again."""


async def surely(work: Coroutine[Any, Any, T]) -> T:
    """What ``work`` comes to. Whoever cancels this is heard, and ``work`` has ended when this has."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=AGAIN)
        if not task.cancelled():
            task.exception()  # nobody is left to be told
        raise
