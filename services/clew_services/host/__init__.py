"""The machine: ports, limits of the process, child processes that end with their parent, dates of certificates."""

from __future__ import annotations

from clew_events.errors import Rejected

__all__ = ["CannotStart"]


class CannotStart(Rejected):
    """Something on this machine prevents the start; the message says what to do."""

    default_code = "cannot_start"
