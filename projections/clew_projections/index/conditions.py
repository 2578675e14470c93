"""Conditions of a query as SQL over ``t``, a row of ``thread``, and its plan. All values become SQL parameters."""

from __future__ import annotations

import math
import sqlite3
from datetime import datetime
from typing import Final, NamedTuple, assert_never

from clew_events.list_query import (
    PREFIXES,
    ActorTest,
    Condition,
    ForkTest,
    HoldTest,
    IdTest,
    ListThreads,
    MetadataTest,
    NumberTest,
    Test,
    TimeTest,
)
from clew_projections.index.rows import OPTIONAL, SECOND, holds_text, micros
from clew_projections.index.terms import CREATED_BY, UPDATED_BY, actor_key

_BOUNDS: Final = (("gt", ">"), ("gte", ">="), ("lt", "<"), ("lte", "<="))
_LAST: Final = "\U0010ffff"


class Sql(NamedTuple):
    """A piece of SQL and the values of its question marks, in order."""

    text: str
    values: tuple[object, ...] = ()


TRUE: Final = Sql("1")
FALSE: Final = Sql("0")


def join_sql(word: str, parts: list[Sql]) -> Sql:
    """Join pieces by ``AND`` or ``OR``; no pieces give true for ``AND`` and false for ``OR``."""
    if not parts:
        return TRUE if word == "AND" else FALSE
    if len(parts) == 1:
        return parts[0]
    return Sql(
        "(" + f" {word} ".join(part.text for part in parts) + ")", tuple(v for part in parts for v in part.values)
    )


def value_tests(test: MetadataTest) -> list[Sql]:
    """Return the conditions of a test on ``v``, a term with a value."""
    tests: list[Sql] = []
    if test.eq is not None:
        tests.append(Sql("v.value = ?", (test.eq,)))
    if test.one_of is not None:
        tests.append(Sql(f"v.value IN ({_marks(len(test.one_of))})", test.one_of))
    if test.prefix:
        # Exactly the texts with the prefix lie between it and its followers. (substr and LIKE stop at a NUL.)
        tests.append(Sql("v.value >= ? AND v.value < ?", (test.prefix, _after(test.prefix))))
    for name, sign in _BOUNDS:
        bound: float | str | None = getattr(test, name)
        if bound is not None:
            tests.append(Sql(f"v.{'value' if isinstance(bound, str) else 'number'} {sign} ?", (bound,)))
    return tests


def is_positive(test: MetadataTest) -> bool:
    """Whether a test requires a value to exist."""
    return bool(test.exists or value_tests(test)) or test.prefix == ""


class Conditions:
    """Conditions of one tenant's queries as SQL. A condition on an unknown key is false."""

    def __init__(self, connection: sqlite3.Connection, tenant: int) -> None:
        self._connection = connection
        self._tenant = tenant

    def sql(self, condition: Condition) -> Sql:
        """Return a condition as SQL on ``t``."""
        parts = [self.sql(each) for each in condition.every or ()]
        if condition.some is not None:
            parts.append(join_sql("OR", [self.sql(each) for each in condition.some]))
        if condition.no is not None:
            inner = self.sql(condition.no)
            parts.append(Sql(f"NOT ({inner.text})", inner.values))
        for name, test in condition.tests.items():
            if name in OPTIONAL:
                parts.append(Sql(f"t.{name} IS NOT NULL"))  # else a comparison is null, and so is its negation
            parts += self._tests(f"t.{name}", test)
        return join_sql("AND", parts)

    def key(self, name: str) -> int:
        """Return the number of a metadata key; 0 if no thread ever had it."""
        found = self._connection.execute("SELECT no FROM key WHERE tenant = ? AND name = ?", (self._tenant, name))
        row = found.fetchone()
        return 0 if row is None else int(row[0])

    def actor_key(self, *, latest: bool) -> int:
        """Return the number of the key for the actors who changed threads last, or created them."""
        return actor_key(self._tenant, UPDATED_BY if latest else CREATED_BY)

    def _tests(self, column: str, test: Test) -> list[Sql]:
        match test:
            case MetadataTest():
                return [self._metadata(test)]
            case TimeTest():
                return times(column, test)
            case NumberTest():
                return _numbers(column, test)
            case ActorTest():
                return _actors(column, test)
            case IdTest():
                return [_ids(test)]
            case HoldTest():
                return _holds(column, test)
            case ForkTest():
                return _forks(column, test)
            case _:
                assert_never(test)

    def _metadata(self, test: MetadataTest) -> Sql:
        parts: list[Sql] = []
        if is_positive(test):
            parts.append(self._has(test.key, value_tests(test)))
        if test.ne is not None:
            found = self._has(test.key, [Sql("v.value = ?", (test.ne,))])
            parts.append(Sql(f"NOT {found.text}", found.values))
        if test.exists is False:
            found = self._has(test.key, [])
            parts.append(Sql(f"NOT {found.text}", found.values))
        return join_sql("AND", parts)

    def _has(self, name: str | None, tests: list[Sql]) -> Sql:
        """Return the condition that there is a pair, under one key or any, whose value passes the tests."""
        which = Sql("p.key > 0")
        if name is not None:
            if (key := self.key(name)) == 0:
                return FALSE
            which = Sql("p.key = ?", (key,))
        held = join_sql("AND", [which, *tests])
        terms = "CROSS JOIN term v ON v.no = p.term" if tests else ""
        return Sql(f"EXISTS (SELECT 1 FROM pair p {terms} WHERE p.thread = t.no AND {held.text})", held.values)


def times(column: str, test: TimeTest) -> list[Sql]:
    """Return the conditions of a test of times on a column."""
    found: list[Sql] = []
    for name, sign in _BOUNDS:
        bound: datetime | int | None = getattr(test, name)
        if bound is not None:
            found.append(Sql(f"{column} {sign} ?", (micros(bound) if isinstance(bound, datetime) else bound * SECOND,)))
    return found


def _numbers(column: str, test: NumberTest) -> list[Sql]:
    found: list[Sql] = [] if test.eq is None else [Sql(f"{column} = ?", (test.eq,))]
    for name, sign in _BOUNDS:
        bound: int | None = getattr(test, name)
        if bound is not None:
            found.append(Sql(f"{column} {sign} ?", (bound,)))
    return found


def _actors(column: str, test: ActorTest) -> list[Sql]:
    found: list[Sql] = [] if test.eq is None else [Sql(f"{column} = ?", (test.eq,))]
    if test.one_of is not None:
        found.append(Sql(f"{column} IN ({_marks(len(test.one_of))})", test.one_of))
    return found


def _ids(test: IdTest) -> Sql:
    # Ids are ASCII without DEL, so every id with the prefix lies before it.
    return Sql("t.id >= ? AND t.id < ?", (test.prefix, f"{test.prefix}\x7f"))


def _holds(column: str, test: HoldTest) -> list[Sql]:
    found: list[Sql] = [] if test.eq is None else [Sql(f"instr({column}, ?) > 0", (holds_text(test.eq),))]
    if test.exists is not None:
        found.append(Sql(f"{column} {'<>' if test.exists else '='} ''"))
    return found


def _forks(column: str, test: ForkTest) -> list[Sql]:
    found: list[Sql] = [] if test.eq is None else [Sql(f"{column} = ?", (test.eq,))]
    if test.exists is not None:
        found.append(Sql(f"{column} {'<>' if test.exists else '='} ''"))
    return found


def _marks(count: int) -> str:
    return ", ".join("?" * count)


def _after(prefix: str) -> str:
    # Not the next prefix, which may not exist, but more of the last character than any value is long.
    return prefix + _LAST * 513


_OF_TERMS: Final = frozenset({"metadata", "created_by", "updated_by"})
"""The tests that ask for terms."""
_MOST_TERMS: Final = 1000
"""The most values whose numbers of threads are added up."""


WALKED: Final = 5
"""How many threads can be looked at in order in the time in which one is gathered and sorted."""
_FEW: Final = 1000
"""So many threads are sorted at once; more are read in order."""


def find_few(connection: sqlite3.Connection, tenant: int, condition: Condition) -> Sql | None:
    """Return a few threads among which are all that match a condition; ``None`` if none are known.

    They are known by their ids, by holds, by what they were forked from, or by when they expire.
    """
    for each in condition.every or ():
        if (few := find_few(connection, tenant, each)) is not None:
            return few
    if condition.hold is not None and (condition.hold.eq is not None or condition.hold.exists):
        return Sql("thread t INDEXED BY thread_held WHERE t.hold <> ''")
    if condition.forked_from is not None and condition.forked_from.eq is not None:
        forked = join_sql("AND", _forks("t.forked_from", condition.forked_from))
        if (few := _few_among(connection, tenant, _FORKED, forked)) is not None:
            return few
    if condition.id is not None:
        return _few_among(connection, tenant, "thread t INDEXED BY thread_id WHERE 1", _ids(condition.id))
    if condition.expires_at is not None:
        held = join_sql("AND", times("t.expires_at", condition.expires_at))
        return _few_among(connection, tenant, _EXPIRING, held)
    return None


def where_of(query: ListThreads) -> Condition | None:
    """Return the whole condition of a query: ``where``, and that of its ``kind``."""
    if query.kind is None:
        return query.where
    kind = Condition(id=IdTest(prefix=PREFIXES[query.kind]))
    return kind if query.where is None else Condition(every=(query.where, kind))


def few_of_kind(connection: sqlite3.Connection, tenant: int, query: ListThreads, threads: int) -> Sql | None:
    """Return the threads of a query's kind, if all are sorted sooner than a page of them is met among ``threads``."""
    if query.kind is None:
        return None
    most = min(_FEW, math.isqrt(query.limit * threads // WALKED))
    held = _ids(IdTest(prefix=PREFIXES[query.kind]))
    return _few_among(connection, tenant, "thread t INDEXED BY thread_id WHERE 1", held, most)


_FORKED: Final = "thread t INDEXED BY thread_forked WHERE t.forked_from <> ''"
_EXPIRING: Final = "thread t INDEXED BY thread_expiring WHERE t.deleted = 0 AND t.expires_at IS NOT NULL"


def _few_among(connection: sqlite3.Connection, tenant: int, threads: str, held: Sql, most: int = _FEW) -> Sql | None:
    matches = f"SELECT 1 FROM {threads} AND t.tenant = ? AND {held.text} LIMIT ?"
    found = connection.execute(f"SELECT count(*) FROM ({matches})", (tenant, *held.values, most + 1)).fetchone()
    return Sql(threads) if int(found[0]) <= most else None


class Candidates(NamedTuple):
    """Terms of which every matching thread has one, and the number of threads that have them.

    ``whole`` if every thread with one of the terms matches and is counted once: then ``threads`` is the exact count.
    """

    terms: tuple[int, ...]
    threads: int
    whole: bool


class CandidatePlanner:
    """Plans one tenant's queries: finds the candidates of a condition."""

    def __init__(self, connection: sqlite3.Connection, conditions: Conditions) -> None:
        self._connection = connection
        self._conditions = conditions

    def candidates(self, condition: Condition) -> Candidates | None:
        """Return the smallest set of candidates for a condition; ``None`` if it could be any thread."""
        parts: list[Candidates | None] = [self.candidates(each) for each in condition.every or ()]
        if condition.some is not None:
            parts.append(self._any_of([self.candidates(each) for each in condition.some]))
        if condition.metadata is not None:
            parts.append(self._of_metadata(condition.metadata))
        if condition.created_by is not None:
            parts.append(self._of_actor(self._conditions.actor_key(latest=False), condition.created_by))
        if condition.updated_by is not None:
            parts.append(self._of_actor(self._conditions.actor_key(latest=True), condition.updated_by))
        # Any other test narrows what the terms find.
        alone = len(parts) == 1 and condition.no is None and condition.tests.keys() <= _OF_TERMS
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
        return self._terms(join_sql("AND", [Sql("v.key = ?", (key,)), *value_tests(test)]), whole=only)

    def _of_actor(self, key: int, test: ActorTest) -> Candidates | None:
        return self._terms(
            join_sql(
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
