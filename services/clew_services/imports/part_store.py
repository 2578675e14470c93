"""Pieces of threads, gathered by thread: in a private file of SQLite's, which is gone when it is closed.

So pieces may come in any order, and memory holds one thread at a time.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Self

from msgspec import Raw, Struct

from clew_services.imports.source_thread import Part


class StagedThread(Struct, frozen=True):
    """All pieces of a thread, and the SHA-256 of the file that the first of them came in."""

    id: str
    file: str
    parts: tuple[Part, ...]


class PartStore:
    """Pieces of threads on disk, until the block ends."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", check_same_thread=False)
        self._db.execute(
            "CREATE TABLE part (no INTEGER PRIMARY KEY, thread TEXT, file TEXT, kind TEXT, place TEXT, body BLOB, "
            "fault TEXT)"
        )
        self._db.execute("CREATE INDEX part_thread ON part (thread, no)")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._db.close()

    def add(self, file: str, parts: Iterable[Part]) -> None:
        """Add the pieces of a file."""
        rows = ((part.thread, file, part.kind, part.place, bytes(part.body), part.fault) for part in parts)
        self._db.executemany(
            "INSERT INTO part (thread, file, kind, place, body, fault) VALUES (?, ?, ?, ?, ?, ?)", rows
        )

    def count(self) -> int:
        """Return how many threads there are."""
        number: int = self._db.execute("SELECT count(DISTINCT thread) FROM part").fetchone()[0]
        return number

    def threads(self) -> Iterator[StagedThread]:
        """Yield the threads, in the order in which they began."""
        for (thread,) in self._db.execute("SELECT thread FROM part GROUP BY thread ORDER BY min(no)"):
            rows = self._db.execute(
                "SELECT file, kind, place, body, fault FROM part WHERE thread = ? ORDER BY no", (thread,)
            ).fetchall()
            parts = tuple(Part(thread, kind, place, Raw(body), fault) for _, kind, place, body, fault in rows)
            yield StagedThread(thread, rows[0][0], parts)
