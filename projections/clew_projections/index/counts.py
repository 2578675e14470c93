"""Counts and facets of a query: from stored counts, or counted over a limited number of threads."""

from __future__ import annotations

import sqlite3
from typing import Final

import msgspec

from clew_events.list_reply import Count, Facet, FacetValue
from clew_projections.index.conditions import Conditions
from clew_projections.index.scan import Selection, sample
from clew_projections.index.search import Search

MOST: Final = 10_000
"""The most threads that are counted one by one."""
VALUES: Final = 20
"""The most values of a facet in an answer."""


class Counter:
    """Counts the threads of one query."""

    def __init__(self, connection: sqlite3.Connection, conditions: Conditions, selection: Selection) -> None:
        self._connection = connection
        self._conditions = conditions
        self._selection = selection

    def answer(
        self, search: Search | None, *, everything: bool, count: bool, facets: tuple[str, ...]
    ) -> tuple[Count | None, tuple[Facet, ...] | None]:
        """Return the requested count and facets; ``everything`` if the query matches all threads."""
        kept = self._stored_count(everything=everything) if search is None else None
        numbers: list[int] = []
        exact = True
        if (count and kept is None) or (facets and not everything):
            if search is not None:
                numbers, exact = search.sample(MOST)
            else:
                numbers = sample(self._connection, self._selection, MOST + 1)
                exact = len(numbers) <= MOST
                del numbers[MOST:]
        counted = None
        if count:
            counted = Count(kept, exact=True) if kept is not None else Count(len(numbers), exact)
        if not facets:
            return counted, None
        if everything:
            return counted, tuple(self._whole_facet(key) for key in facets)
        return counted, tuple(self._facet(key, numbers, exact) for key in facets)

    def _stored_count(self, *, everything: bool) -> int | None:
        if everything:
            return self._selection.threads
        candidates = self._selection.candidates
        return candidates.threads if candidates is not None and candidates.whole else None

    def _whole_facet(self, key: str) -> Facet:
        found = self._connection.execute(
            "SELECT value, threads FROM term WHERE key = ? AND threads > 0 ORDER BY threads DESC, value LIMIT ?",
            (self._conditions.key(key), VALUES + 1),
        ).fetchall()
        return _facet(key, found, exact=True)

    def _facet(self, key: str, numbers: list[int], exact: bool) -> Facet:
        found = self._connection.execute(
            "SELECT v.value, count(*) FROM json_each(?) j CROSS JOIN pair p ON p.thread = j.value AND p.key = ? "
            "CROSS JOIN term v ON v.no = p.term GROUP BY v.no ORDER BY 2 DESC, 1 LIMIT ?",
            (msgspec.json.encode(numbers).decode(), self._conditions.key(key), VALUES + 1),
        ).fetchall()
        return _facet(key, found, exact=exact)


def _facet(key: str, found: list[tuple[str, int]], *, exact: bool) -> Facet:
    values = tuple(FacetValue(value, threads) for value, threads in found[:VALUES])
    return Facet(key=key, values=values, more=len(found) > VALUES, exact=exact)
