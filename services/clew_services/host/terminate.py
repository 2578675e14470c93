"""Signals to child processes, and their termination."""

from __future__ import annotations

import asyncio
import contextlib
import os
from asyncio.subprocess import Process
from signal import SIGKILL, SIGTERM, Signals


def signal(process: Process, number: Signals) -> None:
    """Send a signal to a process, if it still runs."""
    # Not by asyncio's own methods: they may reap a process that has just ended, and lose its return code.
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)


async def terminate(process: Process, patience: float) -> int:
    """Terminate a process, kill it after ``patience`` seconds, and return its return code."""
    signal(process, SIGTERM)
    try:
        async with asyncio.timeout(patience):
            return await process.wait()
    except TimeoutError:
        signal(process, SIGKILL)
        return await process.wait()
