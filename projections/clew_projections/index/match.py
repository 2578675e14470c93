"""Match: whether a condition of lists holds for one thread, by its view. Pure; a property test compares it with SQL."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Final, assert_never

from msgspec import Struct, UnsetType

from clew_events.list_query import (
    ActorTest,
    Condition,
    ForkTest,
    HoldTest,
    IdTest,
    MetadataTest,
    NumberTest,
    Test,
    TimeTest,
)
from clew_projections.index.conditions import is_positive
from clew_projections.index.rows import SECOND, micros
from clew_projections.index.terms import number_of
from clew_projections.views import ThreadView

Compare = Callable[[Any, Any], bool]
_COMPARES: Final[tuple[tuple[str, Compare], ...]] = (
    ("gt", operator.gt),
    ("gte", operator.ge),
    ("lt", operator.lt),
    ("lte", operator.le),
)
_ACTORS: Final = frozenset({"created_by", "updated_by"})


class MatchedThread(Struct, frozen=True):
    """A thread with at least one commit, and the actors of its first and its latest."""

    view: ThreadView
    created_by: str = ""
    updated_by: str = ""


def needs_actors(condition: Condition) -> bool:
    """Whether a condition asks who created a thread or changed it last, which its view does not say."""
    inner = (*(condition.every or ()), *(condition.some or ()), *([condition.no] if condition.no is not None else []))
    return not _ACTORS.isdisjoint(condition.tests) or any(map(needs_actors, inner))


def match(condition: Condition, thread: MatchedThread) -> bool:
    """Whether a condition holds for a thread, deleted or not."""
    return all(_parts(condition, thread))


def _parts(condition: Condition, thread: MatchedThread) -> Iterator[bool]:
    for each in condition.every or ():
        yield match(each, thread)
    if condition.some is not None:
        yield any(match(each, thread) for each in condition.some)
    if condition.no is not None:
        yield not match(condition.no, thread)
    for name, test in condition.tests.items():
        yield _passes(name, test, thread)


def _passes(name: str, test: Test, thread: MatchedThread) -> bool:
    view = thread.view
    match test:
        case MetadataTest():
            return _metadata(test, view)
        case TimeTest():
            times = {
                "created": view.created_at,
                "recorded": view.recorded_at,
                "updated": view.updated_at,
                "expires_at": view.expires_at,
            }
            return _time(test, times[name])
        case NumberTest():
            within = all(compare(view.messages, bound) for compare, bound in _bounds(test))
            return within and test.eq in {None, view.messages}
        case ActorTest():
            actor = thread.created_by if name == "created_by" else thread.updated_by
            return test.eq in {None, actor} and (test.one_of is None or actor in test.one_of)
        case IdTest():
            return view.id.startswith(test.prefix)
        case HoldTest():
            return (test.eq is None or test.eq in view.holds) and test.exists in {None, bool(view.holds)}
        case ForkTest():
            forked = None if isinstance(view.forked_from, UnsetType) else view.forked_from.thread
            return test.eq in {None, forked} and test.exists in {None, forked is not None}
        case _:
            assert_never(test)


def _metadata(test: MetadataTest, view: ThreadView) -> bool:
    values = [value for key, value in view.metadata.items() if test.key in {None, key}]
    if is_positive(test) and not any(_value(test, value) for value in values):
        return False
    return not (test.ne is not None and test.ne in values) and not (test.exists is False and values)


def _value(test: MetadataTest, value: str) -> bool:
    if test.eq not in {None, value} or (test.one_of is not None and value not in test.one_of):
        return False
    if not value.startswith(test.prefix or ""):
        return False
    texts = [(compare, bound) for compare, bound in _bounds(test) if isinstance(bound, str)]
    numbers = [(compare, bound) for compare, bound in _bounds(test) if not isinstance(bound, str)]
    number = number_of(value)
    return all(compare(value, bound) for compare, bound in texts) and all(
        number is not None and compare(number, bound) for compare, bound in numbers
    )


def _time(test: TimeTest, at: datetime | None) -> bool:
    if at is None:
        return False
    bounds = [(compare, micros(b) if isinstance(b, datetime) else b * SECOND) for compare, b in _bounds(test)]
    return all(compare(micros(at), bound) for compare, bound in bounds)


def _bounds(test: MetadataTest | TimeTest | NumberTest) -> list[tuple[Compare, Any]]:
    """The bounds that are given, each with its comparison."""
    given = ((compare, getattr(test, name)) for name, compare in _COMPARES)
    return [(compare, bound) for compare, bound in given if bound is not None]
