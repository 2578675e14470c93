"""Clocks: of several machines, which differ, and of one, which may be set."""

from __future__ import annotations

from datetime import datetime


def is_within(seconds: float, since: datetime, now: datetime) -> bool:
    """Whether fewer than so many seconds have passed.

    A time in the future was written by a clock that was wrong: it holds nothing up, as if it were long ago.
    """
    return 0.0 <= (now - since).total_seconds() < seconds
