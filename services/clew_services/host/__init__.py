"""What Clew asks of the machine: ports, private files, child processes that end with their parent."""

from __future__ import annotations

from clew_events.errors import Rejected

__all__ = ["CannotStart"]


class CannotStart(Rejected):
    """Something on this machine is in the way of starting; the message says what to do about it."""

    default_code = "cannot_start"
