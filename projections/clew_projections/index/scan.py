"""Scans of threads in order for a page, and samples for counts."""

from __future__ import annotations

import sqlite3
from typing import Final, NamedTuple

from clew_events.list_query import Direction, ListThreads
from clew_projections.index.conditions import WALKED, Candidates, Sql, join_sql
from clew_projections.index.list_page import Place

_MERGED: Final = 32
"""So many values are read off in order each, and what is found is merged."""


class ScanHit(NamedTuple):
    """A thread of a list: its number, its id, the time that orders it, and its listed JSON."""

    no: int
    id: str
    time: int
    shown: bytes


class Selection(NamedTuple):
    """The threads of a query: their condition, the candidates, and a few threads among which they are, if known."""

    tenant: int
    threads: int
    condition: Sql
    candidates: Candidates | None
    few: Sql | None = None

    @property
    def none(self) -> bool:
        """Whether the query certainly matches no thread."""
        return self.candidates is not None and not self.candidates.terms


class Page(NamedTuple):
    """The bounds of a page in the query's order; either may be ``None``.

    With ``before`` alone the page is what lies nearest to it, so it ``goes_back``: it is read from there in the other
    order.
    """

    after: Place | None
    before: Place | None

    @property
    def goes_back(self) -> bool:
        """Whether the page is read against the query's order."""
        return self.before is not None and self.after is None

    def direction(self, order: Direction) -> Direction:
        """Return the order in which the page is read."""
        if not self.goes_back:
            return order
        return "asc" if order == "desc" else "desc"

    def sql(self, column: str, order: Direction) -> Sql:
        """Return the condition for a thread between the bounds."""
        parts: list[Sql] = []
        ahead, back = ("<", ">") if order == "desc" else (">", "<")
        for place, sign in ((self.after, ahead), (self.before, back)):
            if place is not None:
                text = f"{column} {sign}= ? AND ({column} {sign} ? OR t.id {sign} ?)"
                parts.append(Sql(text, (place.key, place.key, place.id)))
        return join_sql("AND", parts)


def scan_page(connection: sqlite3.Connection, query: ListThreads, selection: Selection, page: Page) -> list[ScanHit]:
    """Read the threads of a page in its :meth:`Page.direction`, and one more if there is one."""
    if selection.none:
        return []
    time: str = query.ordered_by
    if selection.few is not None:
        return _scan_in_order(connection, query, selection, page, _Source(selection.few, f"t.{time}"))
    candidates = selection.candidates
    if candidates is not None and len(candidates.terms) <= _MERGED:
        found: dict[int, ScanHit] = {}
        for term in candidates.terms:
            of_term = f"pair d INDEXED BY pair_{time} CROSS JOIN thread t ON t.no = d.thread WHERE d.term = ?"
            some = _scan_in_order(connection, query, selection, page, _Source(Sql(of_term, (term,)), f"d.{time}"))
            if len(candidates.terms) == 1:
                return some
            found.update((each.no, each) for each in some)
        descending = page.direction(query.order) == "desc"
        ordered = sorted(found.values(), key=lambda each: (each.time, each.id), reverse=descending)
        return ordered[: query.limit + 1]
    source = Sql(f"thread t INDEXED BY thread_{time} WHERE 1")
    if candidates is not None and _are_few(candidates, selection, query.limit):
        source = _scan_candidates(candidates)
    return _scan_in_order(connection, query, selection, page, _Source(source, f"t.{time}"))


class _Source(NamedTuple):
    """The tables of a scan, and the column that orders it."""

    tables: Sql
    column: str


def _scan_in_order(
    connection: sqlite3.Connection, query: ListThreads, selection: Selection, page: Page, source: _Source
) -> list[ScanHit]:
    held = join_sql("AND", [selection.condition, page.sql(source.column, query.order)])
    direction = page.direction(query.order)
    found = connection.execute(
        f"SELECT t.no, t.id, {source.column}, t.shown FROM {source.tables.text} "
        f"AND t.tenant = ? AND t.deleted = 0 AND {held.text} "
        f"ORDER BY {source.column} {direction}, t.id {direction} LIMIT ?",
        (*source.tables.values, selection.tenant, *held.values, query.limit + 1),
    )
    return [*map(ScanHit._make, found)]


def sample(connection: sqlite3.Connection, selection: Selection, most: int) -> list[int]:
    """Return the numbers of at most ``most`` matching threads, in no particular order."""
    if selection.none:
        return []
    source = selection.few or Sql("thread t INDEXED BY thread_created WHERE 1")
    if selection.few is None and selection.candidates is not None:
        source = _scan_candidates(selection.candidates)
        if len(selection.candidates.terms) == 1:
            source = Sql("pair d CROSS JOIN thread t ON t.no = d.thread WHERE d.term = ?", selection.candidates.terms)
    found = connection.execute(
        f"SELECT t.no FROM {source.text} AND t.tenant = ? AND t.deleted = 0 AND {selection.condition.text} LIMIT ?",
        (*source.values, selection.tenant, *selection.condition.values, most),
    )
    return [no for (no,) in found]


def _scan_candidates(candidates: Candidates) -> Sql:
    marks = ", ".join("?" * len(candidates.terms))
    of_them = f"SELECT DISTINCT thread FROM pair WHERE term IN ({marks})"
    return Sql(f"({of_them}) d CROSS JOIN thread t ON t.no = d.thread WHERE 1", candidates.terms)


def _are_few(candidates: Candidates, selection: Selection, limit: int) -> bool:
    # Gathering costs all candidates; walking in order costs all threads until enough candidates were met.
    return WALKED * candidates.threads**2 <= limit * selection.threads
