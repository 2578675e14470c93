"""What SQLite's errors ask for: a file that is of no use is made anew, a disk that is full is waited for."""

from __future__ import annotations

import sqlite3
from typing import Final

_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT})
_NO_ROOM: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})


class Unusable(Exception):
    """A file cannot be an index of this deployment: damaged, of another format, or of another log. Make a new one."""


def is_damage(fault: sqlite3.Error) -> bool:
    """Whether the file itself is at fault, so that asking again cannot help."""
    return _primary(fault) in _DAMAGED


def is_no_room(fault: sqlite3.Error) -> bool:
    """Whether the disk did not take what was to be written."""
    return _primary(fault) in _NO_ROOM


def _primary(fault: sqlite3.Error) -> int:
    # Extended codes carry the primary one in their lowest byte.
    return getattr(fault, "sqlite_errorcode", 0) & 0xFF
