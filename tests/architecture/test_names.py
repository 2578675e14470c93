"""The rules of names that CONTRIBUTING gives, held over every module of the packages."""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterator

import click
import pytest

from clew_events.errors import ClewError
from clew_events.events import Event
from clew_services.cli import main
from support.source import MODULES, tree_of

# English has participles that do not end in -ed; these are those that this code was once full of.
IRREGULAR = {
    "begun", "bound", "built", "drawn", "fed", "found", "given", "gone", "heard", "held", "kept", "known", "led",
    "lost", "made", "met", "said", "seen", "sent", "shown", "spent", "taken", "then", "thrown", "told", "written",
}  # fmt: skip
NOUNS = {"chunking", "embedded", "feed", "finding", "listing", "numbering", "setting", "speed", "testing", "tracing"}
"""Words that end like a participle and name a thing."""
STATES = {
    "Found", "Gone", "ItemFound", "ItemThen", "ItemsFound", "ItemsThen", "KeyRemoved", "MessageFound", "MessageThen",
    "MessagesFound", "MessagesThen", "Recorded", "Then", "ThreadFound",
}  # fmt: skip
"""Types of the wire contract and the client that are named for the state they report."""
COMMANDS_OF_THE_CLI = {"blame", "checkpoint", "diff", "prove", "serve", "up", "verify", "what_if"}
"""``clew NAME`` and the operation that it runs bear one name on two layers."""


def is_participle(word: str) -> bool:
    word = word.lower()
    return word not in NOUNS and (word in IRREGULAR or (len(word) > 4 and word.endswith(("ing", "ed"))))


def last_word(name: str) -> str:
    return re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z0-9]+", name)[-1]


def classes() -> Iterator[tuple[str, str]]:
    for name in MODULES:
        for node in tree_of(name).body:
            if isinstance(node, ast.ClassDef):
                yield name, node.name


def functions() -> Iterator[tuple[str, str]]:
    for name in MODULES:
        for node in tree_of(name).body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                yield name, node.name


def errors() -> set[str]:
    waiting, names = [ClewError], set()
    while waiting:
        kind = waiting.pop()
        names.add(kind.__name__)
        waiting.extend(kind.__subclasses__())
    return names


def test_every_module_but_those_of_commands_is_named_for_a_thing_or_an_operation() -> None:
    assert len(MODULES) > 200
    acting = [
        name
        for name in MODULES
        if is_participle(last_word(name.rpartition(".")[2])) and not name.startswith("clew_services.cli.")
    ]
    assert acting == []


def test_a_class_named_by_a_participle_is_an_event_or_an_error_or_a_state_of_the_contract() -> None:
    events = {kind.__name__ for kind in Event.__args__}
    raised = {
        node.name
        for tree in map(tree_of, MODULES)
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        and any(getattr(base, "id", getattr(base, "attr", "")) in errors() | {"Exception"} for base in node.bases)
    }
    allowed = events | errors() | raised | STATES
    acting = [
        f"{module}.{name}"
        for module, name in classes()
        if name not in allowed and not name.startswith("_") and is_participle(last_word(name))
    ]
    assert acting == []


def test_a_function_is_named_by_what_it_does_and_not_by_what_was_done() -> None:
    done = [
        f"{module}.{name}"
        for module, name in functions()
        if not name.startswith("_") and "_" not in name and is_participle(name)
    ]
    assert done == []


def test_a_base_name_repeats_only_where_it_names_the_same_thing_on_two_layers() -> None:
    places = defaultdict(list)
    for name in MODULES:
        if MODULES[name].name != "__init__.py":
            places[name.rpartition(".")[2]].append(name)
    repeated = {base: sorted(names) for base, names in places.items() if len(names) > 1}
    assert max(Counter({base: len(names) for base, names in repeated.items()}).values(), default=0) <= 2
    assert len(repeated) <= 10, repeated
    for base, names in repeated.items():
        of_the_cli = [name for name in names if name.startswith("clew_services.cli.")]
        assert base in COMMANDS_OF_THE_CLI, names
        assert len(of_the_cli) == 1, names
    commands = {command.replace("-", "_") for command in main.list_commands(click.Context(main))}
    assert commands >= COMMANDS_OF_THE_CLI


@pytest.mark.parametrize(
    ("word", "so"),
    [("Comparing", True), ("told", True), ("Folded", True), ("feed", False), ("red", False), ("ring", False)],
)
def test_the_rule_knows_a_participle_when_it_sees_one(word: str, so: bool) -> None:
    assert is_participle(word) is so
