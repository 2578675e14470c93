"""JSON Schema of everything that crosses the wire, taken from the types themselves.

One name means one thing in the whole contract. Where two of our types share a class name, the stored one is
called ``Recorded…``: ``Message`` is what callers see, ``RecordedMessage`` is what a commit holds.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, get_args

import msgspec
from msgspec import Struct

from clew_events.commit import Commit
from clew_events.contract.examples import EXAMPLES
from clew_events.events import Event
from clew_events.operations import COMMANDS, QUERIES, REPLIES
from clew_events.replies import Rejection

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
DEFINITIONS: Final = "#/$defs/"

GROUPS: Final[Mapping[str, tuple[type[Struct], ...]]] = {
    "commands": tuple(COMMANDS.values()),
    "queries": tuple(QUERIES.values()),
    "replies": (*REPLIES, Rejection),
    "events": (Commit, *get_args(Event)),
}


def json_schema(more: Mapping[str, tuple[type[Struct], ...]] | None = None) -> dict[str, object]:
    """A JSON Schema document for each group of types: what may be said, asked, answered and stored.

    ``more`` adds groups that this package does not know, such as the views a projection keeps. A document
    accepts any of its group's types; ``$defs`` holds each under its name, with examples.
    """
    groups = {**GROUPS, **(more or {})}
    every = definitions((kind for group in groups.values() for kind in group), DEFINITIONS)
    return {name: _document(name, group, every) for name, group in groups.items()}


def definitions(kinds: Iterable[type[Struct]], prefix: str) -> dict[str, dict[str, object]]:
    """The schemas of types and of all that they are made of, by name; ``prefix`` begins references.

    Raises:
        ValueError: two types would go by the same name.
    """
    _, found = msgspec.json.schema_components(kinds, ref_template=prefix + "{name}")
    named: dict[str, dict[str, object]] = {}
    for name, schema in found.items():
        public = public_name(name)
        if public in named:
            raise ValueError(f"two types in the contract are called {public}")
        named[public] = {**_tidy(schema, prefix), "title": public}
    return named


def as_json(value: object) -> object:
    """What a value becomes on the wire, as plain lists and dicts."""
    return msgspec.json.decode(msgspec.json.encode(value))


def public_name(name: str) -> str:
    """A type's name in the contract, which shows no Python path."""
    module, _, short = name.rpartition(".")
    return f"Recorded{short}" if module == "clew_events.content" else short


def references(schema: object) -> Iterator[str]:
    """Every reference in a schema, as it stands there."""
    match schema:
        case {"$ref": str(reference)}:
            yield reference
        case dict():
            for value in schema.values():
                yield from references(value)
        case list():
            for value in schema:
                yield from references(value)
        case _:
            pass


def _document(name: str, group: tuple[type[Struct], ...], every: Mapping[str, dict[str, object]]) -> dict[str, object]:
    roots = [kind.__name__ for kind in group]
    wanted: dict[str, dict[str, object]] = {}
    waiting = list(reversed(roots))
    while waiting:
        current = waiting.pop()
        if current not in wanted:
            wanted[current] = every[current]
            waiting.extend(each.removeprefix(DEFINITIONS) for each in references(every[current]))
    for root in roots:
        if root in EXAMPLES:
            wanted[root] = {**wanted[root], "examples": [as_json(example) for example in EXAMPLES[root]]}
    return {
        "$schema": DIALECT,
        "title": f"Clew {name}",
        "anyOf": [{"$ref": DEFINITIONS + root} for root in roots],
        "$defs": {key: wanted[key] for key in sorted(wanted)},
    }


def _tidy(schema: Mapping[str, object], prefix: str) -> dict[str, object]:
    # Python 3.13 strips a docstring's indentation and older ones do not; the contract is the same under both.
    tidy: dict[str, object] = {}
    for key, value in schema.items():
        match key, value:
            case "description", str():
                tidy[key] = inspect.cleandoc(value)
            case "$ref", str():
                tidy[key] = prefix + public_name(value.removeprefix(prefix))
            case "discriminator", {"propertyName": str()}:
                # OpenAPI's word, which AsyncAPI spells otherwise; the members' own tags already say as much.
                continue
            case _, dict():
                tidy[key] = _tidy(value, prefix)
            case _, list() | tuple():
                tidy[key] = [_tidy(item, prefix) if isinstance(item, dict) else item for item in value]
            case _:
                tidy[key] = value
    return tidy
