"""Waiting for something to become true, with a deadline instead of a guess at how long it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
PATIENCE = 60.0
"""Seconds after which what is waited for is taken never to come: long for a machine with much else to do."""


async def eventually(ask: Callable[[], Awaitable[T]], *, within: float = PATIENCE) -> T:
    """What ``ask`` gives once it gives something truthy and raises no AssertionError.

    Raises:
        AssertionError: it did not within so many seconds; the last one that ``ask`` raised, if it raised any.
    """
    deadline = asyncio.get_running_loop().time() + within
    while True:
        failure: AssertionError | None = None
        try:
            if answer := await ask():
                return answer
        except AssertionError as fault:
            failure = fault
        if asyncio.get_running_loop().time() > deadline:
            raise failure or AssertionError(f"not within {within:g} s")
        await asyncio.sleep(0.02)
