"""The texts of items, and the full-text index over them."""

from __future__ import annotations

import sqlite3
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Final, NamedTuple
from zlib import crc32

from msgspec import Raw

from clew_events import items
from clew_events.content import Message, Text
from clew_events.events import ItemAdded, ItemReplaced, ordinal_of
from clew_events.list_reply import FirstText
from clew_projections.index.rows import micros
from clew_projections.index.tokenizer import words_in
from clew_projections.views import ItemView

_START: Final = micros(datetime.fromisoformat("2010-01-01T00:00:00Z"))
_SPAN: Final = 2**50
_SLOTS: Final = 2**13
_OF_A_THREAD: Final = 2**7
_CROWD: Final = 2**20
_KNOWN: Final = 100_000
TURN: Final = 2**63 - 1
"""The full-text index counts messages backwards, from here: what it reads first is the newest."""
_PUT_MESSAGE: Final = "INSERT INTO message VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_PUT_UNLESS_TAKEN: Final = _PUT_MESSAGE.replace("INSERT", "INSERT OR IGNORE")
_PLACE: Final = "SELECT thread, ordinal FROM message WHERE no = ?"
_PUT: Final = "INSERT INTO words (rowid, said) VALUES (?, ?)"
_FIRST: Final = (
    "SELECT id, role, text, said_from, said_to FROM message WHERE thread = ? AND said_to > said_from "
    "ORDER BY ordinal LIMIT 1"
)
_ABOUT: Final = frozenset({"type", "role", "id", "call_id", "status", "object"})
"""Keys of an item whose values say what it is, and nothing of what is said."""
LONGEST_FIRST: Final = 200
"""Characters of a thread's first text in a list, at most."""
_TAKE: Final = "INSERT INTO words (words, rowid, said) VALUES ('delete', ?, ?)"


def tenant_term(tenant: int, word: str) -> str:
    """Return a tenant's word as a token of the full-text index."""
    return f"{tenant}x{word}"


def place_of(thread: int) -> str:
    """Return the token that all messages of a thread have."""
    return f"h{thread}"


class ItemText(NamedTuple):
    """By whom an item is, or its type where it is no message; its text, with each part on a line; and its first words.

    They begin and end there in the text: the first part of it that is not about the item, as its type is.
    """

    role: str
    text: str
    begin: int
    end: int


def said_in(item: ItemView | ItemAdded | ItemReplaced) -> ItemText:
    """Return what an item says. A change of its metadata does not change it."""
    if isinstance(item.message, Message):
        role: str = item.message.role
        parts = [("text", part.text) for part in item.message.content if isinstance(part, Text)]
        if len(parts) == 1:
            text = parts[0][1]
            return ItemText(role, text, 0, 0 if text.isspace() else len(text))
    elif isinstance(item.body, Raw):
        role = items.read_text(items.read_fields(item.body), "role") or items.type_of(item.body)
        parts = [*items.searched_texts(item.body)]
    else:
        return ItemText("user", "", 0, 0)
    begin = end = at = 0
    for key, part in parts:
        if begin == end and key not in _ABOUT and not part.isspace():
            begin, end = at, at + len(part)
        at += len(part) + 1
    return ItemText(role, "\n".join(part for _, part in parts), begin, end)


def first_text_of(connection: sqlite3.Connection, thread: int) -> FirstText | None:
    """Return how a thread begins; ``None`` if it has no text of its own."""
    found = connection.execute(_FIRST, (thread,)).fetchone()
    if found is None:
        return None
    item, role, whole, begin, end = found
    text = whole[begin:end]
    return FirstText(
        message_id=item, role=role, text=text if len(text) <= LONGEST_FIRST else f"{text[:LONGEST_FIRST]}…"
    )


def slot(at: datetime, thread: str, index: int) -> int:
    """Return the number of a message: ordered by time, then in an order that is the same in every index.

    Each microsecond between 2010 and 2045 has 8192 numbers: 64 threads with 128 messages each. If the number is taken
    (two threads in one microsecond with the same checksum), the message gets the next free number.
    """
    time = min(max(micros(at) - _START, 0), _SPAN - 1)
    return time * _SLOTS + crc32(thread.encode()) % (_SLOTS // _OF_A_THREAD) * _OF_A_THREAD + index % _OF_A_THREAD


def moment_of(number: int) -> int:
    """Return the time of a message, in microseconds since 1970, from its number."""
    return number // _SLOTS + _START


class Texts:
    """Adds and removes texts. :meth:`write` writes what was added, and updates the full-text index in good order."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._added: list[tuple[int, int, int, str, str, str, int, int]] = []
        self._said: list[str] = []
        """What the full-text index takes of each that was added."""
        self._waiting: list[tuple[int, str, str]] = []
        self._new: defaultdict[int, set[str]] = defaultdict(set)
        """Words by tenant, as those that are gone, and those known to be in the vocabulary."""
        self._gone: defaultdict[int, set[str]] = defaultdict(set)
        self._known: defaultdict[int, set[str]] = defaultdict(set)

    def add(self, tenant: int, thread: int, near: int, added: ItemAdded | ItemReplaced) -> None:
        """Add an item at its slot, or the next free one. An item without text is left out."""
        role, text, begin, end = said_in(added)
        if not text or text.isspace():
            return
        words = words_in(text)
        self._new[tenant] |= words
        self._added.append((near, thread, ordinal_of(added), role, added.item, text, begin, end))
        self._said.append(_said(tenant, words, thread))

    def remove(self, tenant: int, thread: int, ordinal: int | None = None) -> None:
        """Remove a message of a thread, or all of them."""
        self._put_messages()
        which, values = (
            ("thread = ?", (thread,)) if ordinal is None else ("thread = ? AND ordinal = ?", (thread, ordinal))
        )
        for no, text in self._connection.execute(f"SELECT no, text FROM message WHERE {which}", values):
            words = words_in(text)
            self._gone[tenant] |= words
            self._waiting.append((TURN - no, _TAKE, _said(tenant, words, thread)))
        self._connection.execute(f"DELETE FROM message WHERE {which}", values)

    def write(self) -> None:
        """Write what was added, and update the full-text index. FTS5 flushes when row ids decrease, hence the order."""
        self._put_messages()
        if not self._waiting:
            return
        # An addition and removal of one message have the same number; the sort is stable.
        self._waiting.sort(key=itemgetter(0))
        for what, same in groupby(self._waiting, itemgetter(1)):
            self._connection.executemany(what, [(no, said) for no, _, said in same])
        self._waiting.clear()
        if sum(map(len, self._known.values())) > _KNOWN:
            self._known.clear()
        for tenant, words in self._new.items():
            if new := words - self._known[tenant]:
                terms = [(tenant_term(tenant, word),) for word in new]
                self._connection.executemany("INSERT OR IGNORE INTO vocabulary VALUES (?)", terms)
                self._known[tenant] |= new
        self._new.clear()
        for tenant, words in self._gone.items():
            self._forget_unused(tenant, words)
        self._gone.clear()

    def forget(self) -> None:
        """Discard pending changes after a rollback."""
        for words in (self._new, self._gone, self._known):
            words.clear()
        for waiting in (self._added, self._said, self._waiting):
            waiting.clear()

    def _put_messages(self) -> None:
        """Write the messages that were added, each at its slot or the next free one."""
        if not self._added:
            return
        run = self._connection.execute
        if self._connection.executemany(_PUT_UNLESS_TAKEN, self._added).rowcount == len(self._added):
            numbers = [near for near, *_ in self._added]
        else:
            numbers = []
            for near, *row in self._added:
                no = near
                if run(_PLACE, (no,)).fetchone() != (row[0], row[1]):
                    no = self._free(near)
                    run(_PUT_MESSAGE, (no, *row))
                numbers.append(no)
        self._waiting += [(TURN - no, _PUT, said) for no, said in zip(numbers, self._said, strict=True)]
        self._added.clear()
        self._said.clear()

    def _forget_unused(self, tenant: int, words: Iterable[str]) -> None:
        """Remove words that no message of a tenant has any more from the vocabulary."""
        for word in words:
            term = tenant_term(tenant, word)
            used = self._connection.execute("SELECT 1 FROM words WHERE words MATCH ? LIMIT 1", (f'"{term}"',))
            if used.fetchone() is None:
                self._connection.execute("DELETE FROM vocabulary WHERE word = ?", (term,))
                self._known[tenant].discard(word)

    def _free(self, near: int) -> int:
        taken = self._connection.execute("SELECT 1 FROM message WHERE no = ?", (near,)).fetchone()
        while taken is not None:
            crowd = "SELECT max(no) FROM message WHERE no BETWEEN ? AND ?"
            near = self._connection.execute(crowd, (near, near + _CROWD)).fetchone()[0] + 1
            taken = self._connection.execute("SELECT 1 FROM message WHERE no = ?", (near,)).fetchone()
        return near


def _said(tenant: int, words: set[str], thread: int) -> str:
    """Return what the full-text index takes of a message: the token of its thread, and those of its words."""
    before = f" {tenant_term(tenant, '')}"
    return f"{place_of(thread)}{before}{before.join(words)}" if words else place_of(thread)
