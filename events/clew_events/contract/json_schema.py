"""The JSON Schema of all messages, of commits as they are told, and of the lines that they are stored as.

Names are unique in the whole contract. Where a stored type has the class name of another type, it is called
``Recorded…``: ``Message`` is what callers get, ``RecordedMessage`` is what a commit holds.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final, get_args, get_origin

import msgspec
from msgspec import Struct

from clew_events.codec import CONTENTS, RECORD, CommandContent
from clew_events.commit import Commit
from clew_events.contract.examples import EXAMPLES
from clew_events.events import Event
from clew_events.operations import COMMANDS, OPERATIONS, QUERIES, REPLIES
from clew_events.replies import Rejection, Reply

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
DEFINITIONS: Final = "#/$defs/"
_GENERIC: Final = re.compile(r"([A-Za-z]+)_(\w+)_")

GROUPS: Final[Mapping[str, tuple[type[Struct], ...]]] = {
    "commands": tuple(COMMANDS.values()),
    "queries": tuple(QUERIES.values()),
    "replies": (*REPLIES, Rejection),
    "events": (Commit, *get_args(Event)),
    "log": (RECORD, CommandContent, *CONTENTS.values()),
}


def json_schema(more: Mapping[str, tuple[type[Struct], ...]] | None = None) -> dict[str, object]:
    """A JSON Schema document for each group of types: commands, queries, replies, events, and lines of the log.

    ``more`` adds groups of types of other packages, such as the views of a projection. A document accepts any type of
    its group; ``$defs`` holds each under its name, with examples.
    """
    groups = {**GROUPS, **(more or {})}
    every = definitions((kind for group in groups.values() for kind in group), DEFINITIONS)
    return {name: _document(name, group, every) for name, group in groups.items()}


def definitions(kinds: Iterable[type[Struct]], prefix: str) -> dict[str, dict[str, object]]:
    """The schemas of types and of all types of their fields, by name. References begin with ``prefix``.

    Raises:
        ValueError: two types have the same name.
    """
    kinds = tuple(kinds)
    _, components = msgspec.json.schema_components(kinds, ref_template=prefix + "{name}")
    descriptions = {type_name(kind): {"description": describe(kind)} for kind in kinds}
    named: dict[str, dict[str, object]] = {}
    for name, schema in components.items():
        public = public_name(name)
        if public in named:
            raise ValueError(f"two types in the contract are called {public}")
        named[public] = {**_tidy(schema, prefix), "title": public, **descriptions.get(public, {})}
    return named


def as_json(value: object) -> object:
    """A value as JSON, in plain lists and dicts."""
    return msgspec.json.decode(msgspec.json.encode(value))


def type_name(kind: type[Struct]) -> str:
    """The name in the contract of a type that is not nested in others: ``FoundReply`` for ``Reply[Found]``."""
    return "".join(part.__name__ for part in (*get_args(kind), kind))


def describe(kind: type[Struct]) -> str:
    """The description of a type in the contract: its docstring, or what a reply replies to."""
    if get_origin(kind) is not Reply:
        return inspect.getdoc(kind) or ""
    queries = ", ".join(f"``{each.name}``" for each in OPERATIONS if each.query is not None and each.reply == kind)
    return f"The reply to {queries or 'a command'}."


def public_name(name: str) -> str:
    """The contract's name for a type that msgspec calls ``name``: without a Python path, or brackets."""
    module, _, short = name.rpartition(".")
    short = _GENERIC.sub(r"\2\1", short)
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
    roots = [type_name(kind) for kind in group]
    wanted: dict[str, dict[str, object]] = {}
    waiting = list(reversed(roots))
    while waiting:
        current = waiting.pop()
        if current not in wanted:
            wanted[current] = every[current]
            waiting.extend(each.removeprefix(DEFINITIONS) for each in references(every[current]))
    for root in roots:
        if root in EXAMPLES:
            wanted[root] = {**wanted[root], "examples": [as_json(example) for example in EXAMPLES.get(root, ())]}
    return {
        "$schema": DIALECT,
        "title": f"Clew {name}",
        "anyOf": [{"$ref": DEFINITIONS + root} for root in roots],
        "$defs": {key: wanted[key] for key in sorted(wanted)},
    }


def _tidy(schema: Mapping[str, object], prefix: str) -> dict[str, object]:
    # Python 3.13 strips a docstring's indentation, and older versions do not.
    tidy: dict[str, object] = {}
    for key, value in schema.items():
        match key, value:
            case "description", str():
                tidy[key] = inspect.cleandoc(value)
            case "$ref", str():
                tidy[key] = prefix + public_name(value.removeprefix(prefix))
            case "discriminator", {"propertyName": str()}:
                # OpenAPI's form of it, which AsyncAPI does not have. The tags of the members say the same.
                continue
            case "anyOf", list() | tuple():
                # msgspec 0.21 has null where the annotation does, and later versions have it last.
                tidy[key] = sorted((_tidy(item, prefix) for item in value), key=lambda item: item == {"type": "null"})
            case _, dict():
                tidy[key] = _tidy(value, prefix)
            case _, list() | tuple():
                tidy[key] = [_tidy(item, prefix) if isinstance(item, dict) else item for item in value]
            case _:
                tidy[key] = value
    return tidy
