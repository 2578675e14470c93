"""Signals to child processes, and their termination."""

from __future__ import annotations

import asyncio
import contextlib
import os
from signal import SIGKILL, SIGTERM, Signals
from typing import Protocol


class Child(Protocol):
    """A child process."""

    @property
    def pid(self) -> int:
        """Its process id."""

    @property
    def returncode(self) -> int | None:
        """Its return code; ``None`` until it has ended and was reaped."""

    async def wait(self) -> int:
        """Wait until it has ended; its return code."""


def signal(process: Child, number: Signals) -> None:
    """Send a signal to a process, if it still runs."""
    # Not by asyncio's own methods: they may reap a process that has just ended, and lose its return code.
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)


async def terminate(process: Child, patience: float) -> int:
    """Terminate a process, kill it after ``patience`` seconds, and return its return code."""
    signal(process, SIGTERM)
    try:
        async with asyncio.timeout(patience):
            return await process.wait()
    except TimeoutError:
        signal(process, SIGKILL)
        return await process.wait()
