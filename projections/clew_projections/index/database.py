"""Opening an index file, and the classes of SQLite errors: a damaged file is rebuilt, a full disk is waited for."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final

from clew_events.errors import Corrupt, Unavailable
from clew_projections.index.index_reader import IndexReader
from clew_projections.index.tables import INDEX_FORMAT, create, format_of
from clew_projections.index.writer import IndexWriter

_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT})
_NO_ROOM: Final = frozenset({sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR})


class Unusable(Exception):
    """A file is not usable as an index of this deployment: damaged, of another format, or of another log."""


def is_damage(fault: sqlite3.Error) -> bool:
    """Whether the file itself is damaged, so that a retry cannot help."""
    return _primary(fault) in _DAMAGED


def is_busy(fault: sqlite3.Error) -> bool:
    """Whether another connection writes the file, and did not end in time."""
    return _primary(fault) == sqlite3.SQLITE_BUSY


def is_no_room(fault: sqlite3.Error) -> bool:
    """Whether the disk is full or failed."""
    return _primary(fault) in _NO_ROOM


def _primary(fault: sqlite3.Error) -> int:
    # Extended codes carry the primary one in their lowest byte.
    return getattr(fault, "sqlite_errorcode", 0) & 0xFF


_LEAST_SQLITE: Final = (3, 35, 0)
_PRAGMAS: Final = (
    "PRAGMA busy_timeout = 5000",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA temp_store = MEMORY",
    # With a mapped file, an unreadable page kills the process; with reads, it is an error.
    "PRAGMA mmap_size = 0",
)
_MEBIBYTES: Final = {"writing": 64, "reading": 8}
"""The page cache of one connection in MiB, beside that of the operating system."""


def open_for_writing(path: Path, may_write: Callable[[], bool] = lambda: True) -> IndexWriter:
    """Open a file for writing, and create it if it does not exist. There must be no other writer in any process.

    Raises:
        Corrupt: the file is not an index, or of another format (``index_format``): remove it to have it rebuilt.
        Unavailable: it cannot be opened; or this Python's SQLite is too old.
    """
    return IndexWriter(_open(path, "rwc", "writing"), may_write)


def open_for_reading(path: Path) -> IndexReader:
    """Open a file for reading, for one thread at a time.

    Raises:
        Corrupt: see :func:`open_for_writing`.
        Unavailable: see there; with the code ``index_not_ready``, there is no file yet.
    """
    return IndexReader(_open(path, "ro", "reading"))


def _open(path: Path, mode: str, what: str) -> sqlite3.Connection:
    if sqlite3.sqlite_version_info < _LEAST_SQLITE:
        least = ".".join(map(str, _LEAST_SQLITE))
        raise Unavailable(f"the index needs SQLite {least}, and this is {sqlite3.sqlite_version}", code="no_index")
    if mode == "ro" and not path.exists():
        raise Unavailable(f"the index {path.name} is not there yet", code="index_not_ready")
    connection: sqlite3.Connection | None = None
    try:
        connection = sqlite3.connect(
            f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False
        )
        for pragma in (*_PRAGMAS, f"PRAGMA cache_size = -{_MEBIBYTES[what] * 1024}"):
            connection.execute(pragma)
        _check_format(connection, path, writing=mode != "ro")
    except BaseException as fault:
        if connection is not None:
            connection.close()
        if isinstance(fault, sqlite3.OperationalError):
            raise Unavailable(f"the index {path.name} cannot be opened: {fault}", code="index_not_ready") from fault
        if isinstance(fault, sqlite3.DatabaseError):
            raise Corrupt(f"{path.name} is no index: {fault}", code="unreadable_index") from fault
        raise
    return connection


def _check_format(connection: sqlite3.Connection, path: Path, *, writing: bool) -> None:
    found = format_of(connection)
    if found == 0:
        if not writing:
            raise Unavailable(f"the index {path.name} is not there yet", code="index_not_ready")
        connection.execute("PRAGMA journal_mode = WAL")
        create(connection)
    elif found != INDEX_FORMAT:
        raise Corrupt(
            f"the index {path.name} has format {found}, and this Clew has {INDEX_FORMAT}", code="index_format"
        )
    if writing:
        connection.execute("PRAGMA wal_autocheckpoint = 4000")
