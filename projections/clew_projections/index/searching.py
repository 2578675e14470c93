"""Searching: threads by their newest message that has all words, read off the full-text index from the newest on."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Final, NamedTuple

from clew_events.listing import ListThreads
from clew_projections.index.cursors import Place
from clew_projections.index.rows import Row
from clew_projections.index.scanning import COLUMNS, Meant, sample
from clew_projections.index.texts import place_of
from clew_projections.index.words import expression

FEW: Final = 300
"""So many threads are rather asked one by one whether they have the words."""


class Hit(NamedTuple):
    """A thread that was found, the message that decides its place, and the expression that found that."""

    row: Row
    message: int
    expression: str


class Search:
    """The threads meant that have some words."""

    def __init__(self, connection: sqlite3.Connection, words: tuple[str, ...], meant: Meant) -> None:
        self._connection = connection
        self._words = words
        self._meant = meant

    def found(self, query: ListThreads, after: Place | None, before: Place | None) -> Iterator[Hit]:
        """The threads of a page and all that follow, as they are asked for."""
        if not self._words or self._meant.none:
            return
        candidates = self._meant.candidates
        if candidates is not None and candidates.threads <= FEW:
            yield from self._among_few(query, after, before)
        else:
            yield from self._among_all(query, after, before)

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

    def _among_few(self, query: ListThreads, after: Place | None, before: Place | None) -> Iterator[Hit]:
        numbers = sample(self._connection, self._meant, FEW + 1)
        best = {no: message for no in numbers if (message := self._best(no, query.order)) is not None}
        low, high = _limits(query, after, before)
        ordered = sorted(best.items(), key=lambda each: each[1], reverse=query.order == "desc")
        for no, message in ordered:
            if low < message < high:
                row = self._connection.execute(f"SELECT {COLUMNS} FROM thread t WHERE t.no = ?", (no,)).fetchone()
                yield Hit(Row._make(row), message, self._of_thread(no))

    def _among_all(self, query: ListThreads, after: Place | None, before: Place | None) -> Iterator[Hit]:
        low, high = _limits(query, after, before)
        seen: set[int] = set()
        asked = self._stream(f"m.no, {COLUMNS}", query.order, "words.rowid > ? AND words.rowid < ?", (low, high))
        for message, *columns in self._connection.execute(*asked):
            row = Row._make(columns)
            if row.no in seen:
                continue
            seen.add(row.no)
            # A thread with a match beyond where the page begins was on an earlier one.
            if after is None or self._best(row.no, query.order) == message:
                yield Hit(row, message, self._of_thread(row.no))

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
        found = self._connection.execute(
            f"SELECT rowid FROM words WHERE words MATCH ? ORDER BY rowid {order} LIMIT 1",
            (self._of_thread(thread),),
        ).fetchone()
        return None if found is None else int(found[0])

    def _of_thread(self, thread: int) -> str:
        return expression(self._words, place_of(self._meant.tenant, thread).split()[1])


def _limits(query: ListThreads, after: Place | None, before: Place | None) -> tuple[int, int]:
    """The numbers of messages between which a page lies, without themselves."""
    lowest, highest = -1, 2**63 - 1
    low, high = (before, after) if query.order == "desc" else (after, before)
    return (low.key if low is not None else lowest, high.key if high is not None else highest)
