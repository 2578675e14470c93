"""An event is declared once: what looks at events is derived from the declaration, or the type checker asks for it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from clew_events import codec, events
from clew_events.events import ERASABLE, Effect, Event, EventType, ItemEvent, StoredEvent, ThreadEvent
from clew_events.queries import GetFeed, GetHistory

ROOT = Path(__file__).parents[2]
PACKAGES = (ROOT / "events", ROOT / "projections", ROOT / "services")
NAMES = {event.__name__ for event in get_args(Event)}
CALLED_BY_NAME = {"event_words"}
"""Modules that only tell of events, and call one that they have no words for by its name."""
STRUCTURE = {
    *("item", "ordinal", "items", "ordinals", "forked_from", "expires_after", "hold", "erasure", "code", "certificate"),
    *("name", "after_days", "since", "then", "erase_after_days"),
}
"""Fields of records: ids, hashes, codes and rules, which the fold and audits need whatever was erased."""
FAMILIES = {"ThreadEvent", "TenantEvent", "ItemEvent"}


def trees(packages: tuple[Path, ...] = PACKAGES) -> Iterator[tuple[str, ast.Module]]:
    """Every module that names an event."""
    for package in packages:
        for file in sorted(package.rglob("*.py")):
            written = file.read_text(encoding="utf-8")
            if any(name in written for name in NAMES):
                yield str(file.relative_to(package.parent)), ast.parse(written)


def named(node: ast.AST) -> set[str]:
    """The names of classes in an expression or a pattern, however they are reached."""
    return {
        inner.id if isinstance(inner, ast.Name) else inner.attr
        for inner in ast.walk(node)
        if isinstance(inner, ast.Name | ast.Attribute)
    }


def over_events(tree: ast.AST) -> Iterator[ast.Match]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Match) and any(named(case.pattern) & NAMES for case in node.cases):
            yield node


def is_wildcard(case: ast.match_case) -> bool:
    return isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None


def ends_in_assert_never(match: ast.Match) -> bool:
    *others, last = match.cases
    (first, *more) = last.body
    asserted = isinstance(first, ast.Expr) and ast.unparse(first).startswith("assert_never(") and not more
    return is_wildcard(last) and last.guard is None and asserted and not any(is_wildcard(case) for case in others)


def loose(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Where a new event would be passed over without a word: its line, and what is wrong there."""
    for match in over_events(tree):
        if not ends_in_assert_never(match):
            yield match.lineno, "a match over events has to end in assert_never"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "isinstance" and named(node.args[1]) & NAMES:
            yield node.lineno, "isinstance picks out one event: match over all, or ask for its family and effect"
        if isinstance(node, ast.Compare) and any(
            isinstance(part, ast.Constant) and part.value in NAMES for part in ast.walk(node)
        ):
            yield node.lineno, "an event is compared by its tag: match over all"


def test_no_module_passes_over_an_event_that_it_does_not_know() -> None:
    found = [
        f"{file}:{line}: {what}"
        for file, tree in trees()
        if Path(file).stem not in CALLED_BY_NAME
        for line, what in loose(tree)
    ]
    assert found == []


def test_the_places_where_an_event_means_something_are_looked_at() -> None:
    places = {Path(file).stem for file, tree in trees() if any(over_events(tree))}
    assert {"fold", "apply", "blame", "writer", "event_words"} <= places


@pytest.mark.parametrize(
    "code",
    [
        "match e:\n    case ItemAdded():\n        x()\n    case _:\n        pass",
        "match e:\n    case ItemAdded():\n        x()",
        "match e:\n    case events.ItemAdded():\n        x()\n    case _:\n        assert_never(e)\n        x()",
        "match e:\n    case _ if x:\n        x()\n    case ItemAdded():\n        x()\n    case _:\n        pass",
        "isinstance(e, ItemAdded)",
        "any(isinstance(e, str | ItemAdded) for e in es)",
        "e.type == 'ItemAdded'",
    ],
)
def test_the_check_for_events_passed_over_can_fail(code: str) -> None:
    assert list(loose(ast.parse(code)))


def test_the_types_by_which_queries_choose_are_the_tags_of_all_events_in_order() -> None:
    assert list(get_args(EventType)) == [event.__struct_config__.tag for event in get_args(StoredEvent)]
    assert set(get_args(EventType)) == codec.TAGS
    for query in (GetHistory, GetFeed):
        assert query.__annotations__["types"] == "tuple[EventType, ...]"


def test_every_event_in_the_module_is_one_of_all_events() -> None:
    declared = [
        each
        for each in vars(events).values()
        if isinstance(each, type) and issubclass(each, ThreadEvent | ItemEvent) and each.__name__ not in FAMILIES
    ]
    assert declared == list(get_args(Event))


@pytest.mark.parametrize("event", get_args(StoredEvent))
def test_an_event_is_tagged_with_its_name_has_one_family_and_one_effect(event: type[Event]) -> None:
    assert event.__struct_config__.tag == event.__name__
    assert issubclass(event, ThreadEvent) != issubclass(event, ItemEvent)
    assert event.effect in get_args(Effect)
    if issubclass(event, ItemEvent):
        assert "item" in event.__struct_fields__


@pytest.mark.parametrize("event", get_args(StoredEvent))
def test_whatever_a_person_may_have_written_is_content_and_can_be_erased(event: type[Event]) -> None:
    hints = get_type_hints(event, include_extras=True)
    record = {name for name in event.__struct_fields__ if ERASABLE not in getattr(hints[name], "__metadata__", ())}
    assert record <= STRUCTURE, "a field that is neither structure nor marked Content stays for ever"
