"""Ending a child process."""

from __future__ import annotations

import asyncio
import contextlib
import os
from asyncio.subprocess import Process
from signal import SIGKILL, SIGTERM, Signals


def signal(process: Process, number: Signals) -> None:
    """Signal a process, if it is still there."""
    # Not with asyncio's own methods: they may reap a process that has just ended, and its code is lost.
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)


async def terminate(process: Process, patience: float) -> int:
    """Ask a process to stop, kill it after ``patience`` seconds, and return its code once it is gone."""
    signal(process, SIGTERM)
    try:
        async with asyncio.timeout(patience):
            return await process.wait()
    except TimeoutError:
        signal(process, SIGKILL)
        return await process.wait()
