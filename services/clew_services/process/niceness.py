"""Niceness: background processes get a lower CPU priority."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

STEP_BACK: Final = 10
"""The increment of niceness."""
_AUTOGROUP: Final = Path("/proc/self/autogroup")


def step_back() -> None:
    """Lower the CPU priority of this process, permanently.

    Linux may divide CPU time among sessions before it does among their processes (``sched_autogroup``); niceness then
    has an effect within a session only. So if this process leads a session, the session's niceness is raised as well.
    """
    os.nice(STEP_BACK)
    if os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):  # there are no such groups, or it is not permitted
            _AUTOGROUP.write_text(str(STEP_BACK), encoding="ascii")
