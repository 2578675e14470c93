"""Searching: threads by their newest message that has all words, read off the full-text index from the newest on."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Final, NamedTuple

from clew_events.content import Role
from clew_events.listed import Excerpt
from clew_events.listing import ListThreads
from clew_projections.index import excerpts
from clew_projections.index.rows import Row
from clew_projections.index.scanning import COLUMNS, Meant, Page, sample
from clew_projections.index.texts import place_of
from clew_projections.index.words import expression

FEW: Final = 300
"""So many threads are rather asked one by one whether they have the words."""


_COLUMNS: Final = f"m.no, {excerpts.COLUMNS}, {COLUMNS}"
_HIT: Final = (
    f"SELECT {_COLUMNS} FROM words CROSS JOIN message m ON m.no = words.rowid CROSS JOIN thread t ON t.no = m.thread "
    "WHERE words MATCH ? AND words.rowid = ?"
)


class Hit(NamedTuple):
    """A thread that was found, and the message that decides its place."""

    row: Row
    message: int
    excerpt: Excerpt


class Search:
    """The threads meant that have some words."""

    def __init__(self, connection: sqlite3.Connection, words: tuple[str, ...], meant: Meant) -> None:
        self._connection = connection
        self._words = words
        self._meant = meant

    def found(self, query: ListThreads, page: Page) -> Iterator[Hit]:
        """The threads of a page and all that follow, as they are asked for."""
        if not self._words or self._meant.none:
            return
        candidates = self._meant.candidates
        if candidates is not None and candidates.threads <= FEW:
            yield from self._among_few(query, page)
        else:
            yield from self._among_all(query, page)

    def sample(self, most: int) -> tuple[list[int], bool]:
        """The numbers of threads found in at most so many messages, and whether that is all there are."""
        if not self._words or self._meant.none:
            return [], True
        candidates = self._meant.candidates
        if candidates is not None and candidates.threads <= FEW:
            numbers = sample(self._connection, self._meant, FEW + 1)
            return [no for no in numbers if self._best(no, "desc") is not None], True
        seen: dict[int, None] = {}
        for looked, (no,) in enumerate(self._connection.execute(*self._stream("t.no", "desc", "1", ()))):
            if looked == most:
                return list(seen), False
            seen[no] = None
        return list(seen), True

    def _among_few(self, query: ListThreads, page: Page) -> Iterator[Hit]:
        numbers = sample(self._connection, self._meant, FEW + 1)
        best = {no: message for no in numbers if (message := self._best(no, query.order)) is not None}
        low, high = _limits(query, page)
        ordered = sorted(best.items(), key=lambda each: each[1], reverse=query.order == "desc")
        for no, message in ordered:
            if low < message < high:
                found = self._connection.execute(_HIT, (self._of_thread(no), message)).fetchone()
                yield _hit(*found)

    def _among_all(self, query: ListThreads, page: Page) -> Iterator[Hit]:
        low, high = _limits(query, page)
        seen: set[int] = set()
        for found in self._connection.execute(
            *self._stream(_COLUMNS, query.order, "words.rowid > ? AND words.rowid < ?", (low, high))
        ):
            hit = _hit(*found)
            if hit.row.no in seen:
                continue
            seen.add(hit.row.no)
            # A thread with a match beyond where the page begins was on an earlier one.
            if page.after is None or self._is_first(hit.row.no, hit.message, query.order):
                yield hit

    def _stream(self, columns: str, order: str, within: str, limits: tuple[int, ...]) -> tuple[str, tuple[object, ...]]:
        meant = self._meant
        text = (
            f"SELECT {columns} FROM words CROSS JOIN message m ON m.no = words.rowid "
            f"CROSS JOIN thread t ON t.no = m.thread WHERE words MATCH ? AND {within} AND t.tenant = ? "
            f"AND t.deleted = 0 AND {meant.held.text} ORDER BY words.rowid {order}"
        )
        return text, (expression(self._words, f"t{meant.tenant}"), *limits, meant.tenant, *meant.held.values)

    def _best(self, thread: int, order: str) -> int | None:
        """The message by which a thread is found first."""
        # Not by ORDER BY: FTS5 walks a long list of messages backwards at many times the price.
        first = "max" if order == "desc" else "min"
        asked = f"SELECT {first}(+rowid) FROM words WHERE words MATCH ?"
        best: int | None = self._connection.execute(asked, (self._of_thread(thread),)).fetchone()[0]
        return best

    def _is_first(self, thread: int, message: int, order: str) -> bool:
        """Whether there is no message before this one by which a thread is found."""
        beyond = ">" if order == "desc" else "<"
        asked = f"SELECT 1 FROM words WHERE words MATCH ? AND rowid {beyond} ? LIMIT 1"
        return self._connection.execute(asked, (self._of_thread(thread), message)).fetchone() is None

    def _of_thread(self, thread: int) -> str:
        return expression(self._words, place_of(self._meant.tenant, thread).split()[1])


def _hit(message: int, message_id: str, role: Role, marked: str, *row: object) -> Hit:
    return Hit(Row._make(row), message, excerpts.excerpt_of(message_id, role, marked))


def _limits(query: ListThreads, page: Page) -> tuple[int, int]:
    """The numbers of messages between which a page lies, without themselves."""
    lowest, highest = -1, 2**63 - 1
    low, high = (page.before, page.after) if query.order == "desc" else (page.after, page.before)
    return (low.key if low is not None else lowest, high.key if high is not None else highest)
