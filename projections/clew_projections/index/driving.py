"""Where to look for threads: the few that can be meant, if it is known which, rather than all there are.

The counts of the terms say beforehand how many threads a value has. One value is read off in order; several are
gathered and sorted while they are few; otherwise threads are looked at one after the other, in order, and most pass.
"""

from __future__ import annotations

import sqlite3
from typing import Final, NamedTuple

from clew_events.listing import ActorTest, Condition, MetadataTest
from clew_projections.index.conditions import Conditions, Sql, is_positive, joined, value_tests

_MOST_TERMS: Final = 1000
"""How many values are looked at to find out how many threads they have."""


class Candidates(NamedTuple):
    """The terms of which every thread that is meant has one, and how many threads have them.

    ``whole`` says that every thread with one of them is meant, each counted once: the number is the answer.
    """

    terms: tuple[int, ...]
    threads: int
    whole: bool


class Driving:
    """Finds the candidates of one tenant's conditions."""

    def __init__(self, connection: sqlite3.Connection, conditions: Conditions) -> None:
        self._connection = connection
        self._conditions = conditions

    def candidates(self, condition: Condition) -> Candidates | None:
        """The fewest candidates that all of a condition leaves; ``None`` if it could be any thread."""
        parts: list[Candidates | None] = [self.candidates(each) for each in condition.every or ()]
        if condition.some is not None:
            parts.append(self._any_of([self.candidates(each) for each in condition.some]))
        if condition.metadata is not None:
            parts.append(self._of_metadata(condition.metadata))
        if condition.created_by is not None:
            parts.append(self._of_actor(self._conditions.actor_key(latest=False), condition.created_by))
        if condition.updated_by is not None:
            parts.append(self._of_actor(self._conditions.actor_key(latest=True), condition.updated_by))
        others = (condition.no, condition.created, condition.updated, condition.messages)
        alone = len(parts) == 1 and all(other is None for other in others)
        known = [part for part in parts if part is not None]
        if not known:
            return None
        best = min(known, key=lambda part: part.threads)
        return best if alone else best._replace(whole=best.whole and best.threads == 0)

    def _any_of(self, parts: list[Candidates | None]) -> Candidates | None:
        known = [part for part in parts if part is not None]
        if len(known) < len(parts):
            return None
        terms = tuple(dict.fromkeys(term for part in known for term in part.terms))
        whole = len(known) == 1 and known[0].whole
        return Candidates(terms, sum(part.threads for part in known), whole) if len(terms) <= _MOST_TERMS else None

    def _of_metadata(self, test: MetadataTest) -> Candidates | None:
        if test.key is None or not is_positive(test):
            return None
        key = self._conditions.key(test.key)
        only = test.ne is None and test.exists is not False
        return self._terms(joined("AND", [Sql("v.key = ?", (key,)), *value_tests(test)]), whole=only)

    def _of_actor(self, key: int, test: ActorTest) -> Candidates | None:
        return self._terms(
            joined(
                "AND",
                [Sql("v.key = ?", (key,)), *value_tests(MetadataTest(eq=test.eq, one_of=test.one_of))],
            ),
            whole=True,
        )

    def _terms(self, held: Sql, *, whole: bool) -> Candidates | None:
        found = self._connection.execute(
            f"SELECT v.no, v.threads FROM term v WHERE {held.text} LIMIT ?",
            (*held.values, _MOST_TERMS + 1),
        ).fetchall()
        if len(found) > _MOST_TERMS:
            return None
        return Candidates(tuple(no for no, _ in found), sum(threads for _, threads in found), whole)
