"""The messages' texts, and the full-text index over them."""

from __future__ import annotations

import sqlite3
from datetime import datetime
from typing import Final, Literal
from zlib import crc32

from clew_events.content import Message, Text
from clew_projections.index.times import micros
from clew_projections.views import MessageView

_START: Final = micros(datetime.fromisoformat("2010-01-01T00:00:00Z"))
_SPAN: Final = 2**50
_SLOTS: Final = 2**13
_OF_A_THREAD: Final = 2**7
_CROWD: Final = 2**20
BEGIN, END = "\ufdd0", "\ufdd1"
"""What stands around a match in an excerpt: characters that no text has, as they are no characters."""
_UNMARKED: Final = str.maketrans({BEGIN: "\ufffd", END: "\ufffd", "\x00": " "})


def place_of(tenant: int, thread: int) -> str:
    """The words under which a message is filed beside its own."""
    return f"t{tenant} h{thread}"


def text_of(message: Message | MessageView) -> str:
    """All that a message says in text, its parts one a line."""
    return "\n".join(part.text for part in message.content if isinstance(part, Text)).translate(_UNMARKED)


def slot(at: datetime, thread: str, index: int) -> int:
    """Where a message belongs among all: by time, then in an order that is the same in every index.

    Of each microsecond between 2010 and 2045 there are 8192 places: 64 threads with 128 messages each. Who finds
    theirs taken, which takes two threads in one microsecond with one checksum, goes to the next that is free.
    """
    time = min(max(micros(at) - _START, 0), _SPAN - 1)
    return time * _SLOTS + crc32(thread.encode()) % (_SLOTS // _OF_A_THREAD) * _OF_A_THREAD + index % _OF_A_THREAD


class Texts:
    """Puts texts in and takes them out again. The full-text index follows in :meth:`write`, in the order it likes."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._waiting: list[tuple[int, Literal["in", "out"], str, str]] = []

    def add(self, place: str, thread: int, near: int, message: Message) -> None:
        """Put a message in at its slot, or after it. One without any text is left out."""
        text = text_of(message)
        if not text or text.isspace():
            return
        no = self._free(near)
        self._connection.execute(
            "INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?)",
            (no, thread, message.ordinal, place, message.role, message.id, text),
        )
        self._waiting.append((no, "in", place, text))

    def remove(self, thread: int, ordinal: int | None = None) -> None:
        """Take a message of a thread out, or all of them."""
        which, values = (
            ("thread = ?", (thread,)) if ordinal is None else ("thread = ? AND ordinal = ?", (thread, ordinal))
        )
        found = self._connection.execute(f"SELECT no, place, text FROM message WHERE {which}", values)
        self._waiting += [(no, "out", place, text) for no, place, text in found]
        self._connection.execute(f"DELETE FROM message WHERE {which}", values)

    def write(self) -> None:
        """Bring the full-text index up to date. FTS5 flushes at every step down, hence the order."""
        self._waiting.sort(key=lambda each: each[0])
        for no, what, place, text in self._waiting:
            if what == "in":
                self._connection.execute("INSERT INTO words (rowid, place, text) VALUES (?, ?, ?)", (no, place, text))
            else:
                gone = "INSERT INTO words (words, rowid, place, text) VALUES ('delete', ?, ?, ?)"
                self._connection.execute(gone, (no, place, text))
        self._waiting.clear()

    def forget(self) -> None:
        """Forget what was not written, for the transaction was rolled back."""
        self._waiting.clear()

    def _free(self, near: int) -> int:
        taken = self._connection.execute("SELECT 1 FROM message WHERE no = ?", (near,)).fetchone()
        while taken is not None:
            crowd = "SELECT max(no) FROM message WHERE no BETWEEN ? AND ?"
            near = self._connection.execute(crowd, (near, near + _CROWD)).fetchone()[0] + 1
            taken = self._connection.execute("SELECT 1 FROM message WHERE no = ?", (near,)).fetchone()
        return near
