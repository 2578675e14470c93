"""A process that stands still: its connections stay open, and it says nothing until it goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from signal import SIGCONT, SIGSTOP

from support.waiting import wait_until


def freeze(pid: int) -> None:
    """Stop a process, and return once all of it has stopped.

    The signal alone is not enough: a thread that is at work on another core goes on for a moment after it was sent,
    and a server may answer in that moment what a test takes to be left unanswered.

    Raises:
        ProcessLookupError: there is no such process.
    """
    os.kill(pid, SIGSTOP)
    wait_until(lambda: _stands_still(pid))


def go_on(pid: int) -> None:
    """Have a frozen process go on where it was."""
    os.kill(pid, SIGCONT)


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    """A process stands still for as long as this lasts."""
    freeze(pid)
    try:
        yield
    finally:
        go_on(pid)


def _stands_still(pid: int) -> bool:
    if sys.platform != "linux":
        state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True, check=False)
        return state.stdout.startswith("T")
    try:
        states = [_state(task) for task in Path(f"/proc/{pid}/task").iterdir()]
    except FileNotFoundError:
        if not Path(f"/proc/{pid}").exists():
            raise ProcessLookupError(pid) from None
        return False  # a thread ended between two looks
    if set(states) <= {"Z", "X"}:
        raise ProcessLookupError(pid)  # dead, and nobody has asked after it yet
    return set(states) == {"T"}


def _state(task: Path) -> str:
    """One letter: see proc(5), the third field of ``stat``; the second is a name that may hold anything."""
    return (task / "stat").read_text().rpartition(")")[2].split()[0]
