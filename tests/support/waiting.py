"""Waiting for something to become true, with a deadline instead of a guess at how long it takes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

T = TypeVar("T")
PATIENCE: Final = 60.0
"""Seconds after which what is waited for is taken never to come: long for a machine with much else to do."""
_PAUSE: Final = 0.02


async def eventually(ask: Callable[[], Awaitable[T] | T], *, within: float = PATIENCE) -> T:
    """What ``ask`` gives, or what it awaits, once that is truthy and no AssertionError is raised.

    Raises:
        AssertionError: it did not within so many seconds; the last one that ``ask`` raised, if it raised any.
    """
    deadline = time.monotonic() + within
    while True:
        failure: AssertionError | None = None
        try:
            answer = ask()
            if answer := (await answer if isinstance(answer, Awaitable) else answer):
                return answer
        except AssertionError as fault:
            failure = fault
        _check_time(deadline, within, failure)
        await asyncio.sleep(_PAUSE)


def wait_until(ask: Callable[[], T], *, within: float = PATIENCE, why: Callable[[], object] = str) -> T:
    """What :func:`eventually` promises, where there is no event loop. ``why`` gives what a failure shows besides."""
    deadline = time.monotonic() + within
    while True:
        failure: AssertionError | None = None
        try:
            if answer := ask():
                return answer
        except AssertionError as fault:
            failure = fault
        _check_time(deadline, within, failure, why)
        time.sleep(_PAUSE)


def _check_time(
    deadline: float, within: float, failure: AssertionError | None, why: Callable[[], object] = str
) -> None:
    if time.monotonic() > deadline:
        raise failure or AssertionError(f"not within {within:g} s {why()}")
