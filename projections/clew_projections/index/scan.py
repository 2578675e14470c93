"""Reading threads in order from where a page begins, and counting those that are meant."""

from __future__ import annotations

import sqlite3
from typing import Final, NamedTuple

from clew_events.list_query import Direction, ListThreads
from clew_projections.index.conditions import Candidates, Sql, join_sql
from clew_projections.index.page_cursor import Place

_MERGED: Final = 32
"""So many values are read off in order each, and what is found is merged."""
_WALKED: Final = 5
"""How many threads can be looked at in order in the time in which one is gathered and sorted."""


class ScanHit(NamedTuple):
    """A thread that belongs into a list: its number, its id, the time that it is ordered by, and what is shown."""

    no: int
    id: str
    time: int
    shown: bytes


class Selection(NamedTuple):
    """The threads that a question is about: what holds for them, and what is known of where they are."""

    tenant: int
    threads: int
    held: Sql
    candidates: Candidates | None

    @property
    def none(self) -> bool:
        """Whether it is known that there are none."""
        return self.candidates is not None and not self.candidates.terms


class Page(NamedTuple):
    """The places between which a page lies, as seen in the question's order; either may be missing."""

    after: Place | None
    before: Place | None

    def sql(self, column: str, order: Direction) -> Sql:
        """What holds for a thread between them."""
        parts: list[Sql] = []
        ahead, back = ("<", ">") if order == "desc" else (">", "<")
        for place, sign in ((self.after, ahead), (self.before, back)):
            if place is not None:
                text = f"{column} {sign}= ? AND ({column} {sign} ? OR t.id {sign} ?)"
                parts.append(Sql(text, (place.key, place.key, place.id)))
        return join_sql("AND", parts)


def scan_page(connection: sqlite3.Connection, query: ListThreads, meant: Selection, page: Page) -> list[ScanHit]:
    """The threads of a page, and one more if there is one."""
    if meant.none:
        return []
    time: str = query.ordered_by
    candidates = meant.candidates
    if candidates is not None and len(candidates.terms) <= _MERGED:
        found: dict[int, ScanHit] = {}
        for term in candidates.terms:
            of_term = f"pair d INDEXED BY pair_{time} CROSS JOIN thread t ON t.no = d.thread WHERE d.term = ?"
            some = _scan_in_order(connection, query, meant, page, _Source(Sql(of_term, (term,)), f"d.{time}"))
            if len(candidates.terms) == 1:
                return some
            found.update((each.no, each) for each in some)
        ordered = sorted(found.values(), key=lambda each: (each.time, each.id), reverse=query.order == "desc")
        return ordered[: query.limit + 1]
    source = Sql(f"thread t INDEXED BY thread_{time} WHERE 1")
    if candidates is not None and _are_few(candidates, meant, query.limit):
        source = _scan_candidates(candidates)
    return _scan_in_order(connection, query, meant, page, _Source(source, f"t.{time}"))


class _Source(NamedTuple):
    """Where threads come from, and the column that they are ordered by there."""

    tables: Sql
    column: str


def _scan_in_order(
    connection: sqlite3.Connection, query: ListThreads, meant: Selection, page: Page, source: _Source
) -> list[ScanHit]:
    held = join_sql("AND", [meant.held, page.sql(source.column, query.order)])
    found = connection.execute(
        f"SELECT t.no, t.id, {source.column}, t.shown FROM {source.tables.text} "
        f"AND t.tenant = ? AND t.deleted = 0 AND {held.text} "
        f"ORDER BY {source.column} {query.order}, t.id {query.order} LIMIT ?",
        (*source.tables.values, meant.tenant, *held.values, query.limit + 1),
    )
    return [*map(ScanHit._make, found)]


def sample(connection: sqlite3.Connection, meant: Selection, most: int) -> list[int]:
    """The numbers of at most so many of the threads meant, whichever are found first."""
    if meant.none:
        return []
    source = Sql("thread t INDEXED BY thread_created WHERE 1")
    if meant.candidates is not None:
        source = _scan_candidates(meant.candidates)
        if len(meant.candidates.terms) == 1:
            source = Sql("pair d CROSS JOIN thread t ON t.no = d.thread WHERE d.term = ?", meant.candidates.terms)
    found = connection.execute(
        f"SELECT t.no FROM {source.text} AND t.tenant = ? AND t.deleted = 0 AND {meant.held.text} LIMIT ?",
        (*source.values, meant.tenant, *meant.held.values, most),
    )
    return [no for (no,) in found]


def _scan_candidates(candidates: Candidates) -> Sql:
    marks = ", ".join("?" * len(candidates.terms))
    of_them = f"SELECT DISTINCT thread FROM pair WHERE term IN ({marks})"
    return Sql(f"({of_them}) d CROSS JOIN thread t ON t.no = d.thread WHERE 1", candidates.terms)


def _are_few(candidates: Candidates, meant: Selection, limit: int) -> bool:
    # Gathering costs all of them; walking costs as many threads as it takes until enough of them have come by.
    return _WALKED * candidates.threads**2 <= limit * meant.threads
