"""Ending a child process."""

from __future__ import annotations

import asyncio
import contextlib
from asyncio.subprocess import Process


async def stopped(process: Process, patience: float) -> int:
    """Ask a process to stop, kill it after ``patience`` seconds, and return its code once it is gone."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
    try:
        return await asyncio.wait_for(process.wait(), patience)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        return await process.wait()
