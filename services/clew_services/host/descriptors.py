"""The limit of open file descriptors of this process."""

from __future__ import annotations

import contextlib
import sys
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
