"""Reading threads in order from where a page begins, and counting those that are meant."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Final, NamedTuple

from clew_events.listing import ListThreads
from clew_projections.index import rows
from clew_projections.index.conditions import Sql, joined
from clew_projections.index.cursors import Place
from clew_projections.index.driving import Candidates
from clew_projections.index.rows import Row

COLUMNS: Final = ", ".join(f"t.{name}" for name in rows.COLUMNS.split(", "))
_WALKED: Final = 50
"""How many threads can be looked at in order in the time in which one is gathered and sorted."""


class Meant(NamedTuple):
    """The threads that a question is about: what holds for them, and what is known of where they are."""

    tenant: int
    threads: int
    held: Sql
    candidates: Candidates | None

    @property
    def none(self) -> bool:
        """Whether it is known that there are none."""
        return self.candidates is not None and not self.candidates.terms


def bounds(column: str, query: ListThreads, after: Place | None, before: Place | None, tie: str = "t.id") -> Sql:
    """What holds for a thread strictly between two places, as seen in the question's order."""
    parts: list[Sql] = []
    for place, sign in (
        (after, "<" if query.order == "desc" else ">"),
        (before, ">" if query.order == "desc" else "<"),
    ):
        if place is not None:
            text = f"{column} {sign}= ? AND ({column} {sign} ? OR {tie} {sign} ?)"
            parts.append(Sql(text, (place.key, place.key, place.id)))
    return joined("AND", parts)


def scanned(
    connection: sqlite3.Connection, query: ListThreads, meant: Meant, after: Place | None, before: Place | None
) -> Iterator[Row]:
    """The threads of a page and all that follow, as they are asked for."""
    if meant.none:
        return
    column: str = query.ordered_by
    if meant.candidates is not None and len(meant.candidates.terms) == 1:
        source = Sql(
            f"pair d INDEXED BY pair_{column} CROSS JOIN thread t ON t.no = d.thread WHERE d.term = ?",
            meant.candidates.terms,
        )
        column = f"d.{column}"
    elif meant.candidates is not None and _are_few(meant.candidates, meant, query.limit):
        source = _gathered(meant.candidates)
        column = f"t.{column}"
    else:
        source = Sql(f"thread t INDEXED BY thread_{column} WHERE 1")
        column = f"t.{column}"
    held = joined("AND", [meant.held, bounds(column, query, after, before)])
    found = connection.execute(
        f"SELECT {COLUMNS} FROM {source.text} AND t.tenant = ? AND t.deleted = 0 AND {held.text} "
        f"ORDER BY {column} {query.order}, t.id {query.order}",
        (*source.values, meant.tenant, *held.values),
    )
    for row in found:
        yield Row._make(row)


def sample(connection: sqlite3.Connection, meant: Meant, most: int) -> list[int]:
    """The numbers of at most so many of the threads meant, whichever are found first."""
    if meant.none:
        return []
    source = Sql("thread t INDEXED BY thread_created WHERE 1")
    if meant.candidates is not None:
        source = _gathered(meant.candidates)
        if len(meant.candidates.terms) == 1:
            source = Sql("pair d CROSS JOIN thread t ON t.no = d.thread WHERE d.term = ?", meant.candidates.terms)
    found = connection.execute(
        f"SELECT t.no FROM {source.text} AND t.tenant = ? AND t.deleted = 0 AND {meant.held.text} LIMIT ?",
        (*source.values, meant.tenant, *meant.held.values, most),
    )
    return [no for (no,) in found]


def _gathered(candidates: Candidates) -> Sql:
    marks = ", ".join("?" * len(candidates.terms))
    of_them = f"SELECT DISTINCT thread FROM pair WHERE term IN ({marks})"
    return Sql(f"({of_them}) d CROSS JOIN thread t ON t.no = d.thread WHERE 1", candidates.terms)


def _are_few(candidates: Candidates, meant: Meant, limit: int) -> bool:
    # Gathering costs all of them; walking costs as many threads as it takes until enough of them have come by.
    return candidates.threads**2 <= _WALKED * limit * meant.threads
