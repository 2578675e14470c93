"""How many files and connections this process may have open at a time."""

from __future__ import annotations

import contextlib
import sys
from typing import Final

if sys.platform != "win32":
    import resource

MOST: Final = 65_536
"""As far as the limit is raised: more would only be more to be held at a time."""
RESERVED: Final = 128
"""Descriptors that are kept for everything but callers' connections: NATS, the index, metrics, files."""


def raise_limit() -> None:
    """Raise the limit of open descriptors as far as the system lets this process, up to :data:`MOST`."""
    if sys.platform == "win32":
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(hard, MOST)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    with contextlib.suppress(OSError, ValueError):  # macOS allows less than it says
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def connections() -> int:
    """How many connections of callers the limit leaves room for; 0 where there is no limit."""
    if sys.platform == "win32":
        return 0
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return 0 if soft == resource.RLIM_INFINITY else max(soft - RESERVED, soft // 2)
