"""The machine: ports, limits of the process, and child processes that end with their parent."""

from __future__ import annotations

from clew_events.errors import Rejected

__all__ = ["CannotStart"]


class CannotStart(Rejected):
    """Something on this machine prevents the start; the message says what to do."""

    default_code = "cannot_start"
