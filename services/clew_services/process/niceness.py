"""Stepping back: a process lets others go first where there are too few cores for all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

STEP_BACK: Final = 10
"""By how much a process that steps back is nicer to the others than they are to it."""
_AUTOGROUP: Final = Path("/proc/self/autogroup")


def step_back() -> None:
    """Let other processes go first, for good.

    Linux may share its cores out among sessions before it does among their processes (``sched_autogroup``); being nice
    then counts within a session only. So where this process leads a session of its own, the session steps back as well.
    """
    os.nice(STEP_BACK)
    if os.getsid(0) == os.getpid():
        with contextlib.suppress(OSError):  # there are no such groups, or it is not ours to say
            _AUTOGROUP.write_text(str(STEP_BACK), encoding="ascii")
