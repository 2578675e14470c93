"""A copy of an index file without the bytes of what was deleted from it.

SQLite leaves what is deleted in the file. With ``PRAGMA secure_delete`` it overwrites the deleted row, and not the
copies of it that stay in free space when pages are divided or merged. The full-text index keeps the words of a deleted
text until the parts that have them happen to be merged, and ``secure-delete`` of FTS5 needs a SQLite that few systems
have. So the file is copied row by row, and the original deleted.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

from clew_projections.atomic_file import replace_durably

_STEPS: Final = 1_000
"""Instructions of SQLite between two looks whether the copy is to be given up."""


def copy_clean(source: Path, target: Path, stop: threading.Event) -> None:
    """Write what can be read in an index to a new file, as of one moment; it may be written meanwhile.

    In the copy every erasure that it knows of counts as clean. It takes as much disk as two copies until it is done, in
    files whose names end with ``.part``.

    Raises:
        OSError, sqlite3.Error: the disk fails or is full, the original is damaged, or ``stop`` was set; then there is
            no new file.
    """
    copy, clean = (target.with_name(f"{target.name}.{name}.part") for name in ("copy", "clean"))
    try:
        for left in (copy, clean):
            left.unlink(missing_ok=True)
        with closing(_open(source, "ro", stop)) as db:
            db.execute("VACUUM INTO ?", (str(copy),))
        with closing(_open(copy, "rw", stop)) as db:
            db.execute("PRAGMA journal_mode = OFF")
            db.execute("PRAGMA synchronous = OFF")
            db.execute("PRAGMA secure_delete = OFF")
            # All parts of the full-text index become one, without the words of deleted texts. The former parts stay in
            # free pages, hence the second copy.
            db.execute("INSERT INTO words (words) VALUES ('optimize')")
            db.execute("UPDATE mark SET clean = erased")
            db.execute("VACUUM INTO ?", (str(clean),))
        with closing(_open(clean, "rw", stop)) as db:
            db.execute("PRAGMA journal_mode = WAL")
        replace_durably(clean, target)
    finally:
        for left in (copy, clean):
            left.unlink(missing_ok=True)


def is_clean(file: Path, erased: Mapping[int, int]) -> bool:
    """Whether an index file certainly has no bytes left of erasures, by shard the sequence of the newest of them."""
    if not erased:
        return True
    try:
        with closing(_open(file, "ro")) as db:
            clean = dict(db.execute("SELECT shard, clean FROM mark WHERE erased = clean"))
    except sqlite3.Error:
        return False
    return all(clean.get(shard, 0) >= seq for shard, seq in erased.items())


def _open(file: Path, mode: str, stop: threading.Event | None = None) -> sqlite3.Connection:
    db = sqlite3.connect(f"{file.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None)
    db.execute("PRAGMA busy_timeout = 10000")
    if stop is not None:
        db.set_progress_handler(stop.is_set, _STEPS)
    return db
