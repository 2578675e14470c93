"""Resources of this process: the limit of open file descriptors, and its CPU priority."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path
from typing import Final

if sys.platform != "win32":
    import resource

MOST: Final = 65_536
"""The highest limit that is set."""
RESERVED: Final = 128
"""Descriptors reserved for everything but callers' connections: NATS, the index, metrics, files."""


def raise_limit() -> None:
    """Raise the limit of open descriptors as far as the system allows, up to :data:`MOST`."""
    if sys.platform == "win32":
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    with contextlib.suppress(OSError, ValueError):  # macOS allows less than it reports
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def connections() -> int:
    """The number of callers' connections that the limit allows; 0 if there is no limit."""
    if sys.platform == "win32":
        return 0
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 0 if soft == resource.RLIM_INFINITY else max(soft - RESERVED, soft // 2)


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
