"""The tools: HTTP routes of the table of operations, and the check of a thread's record. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final
from urllib.parse import quote

import jsonschema
from msgspec import Struct
from msgspec.json import encode

from clew_events.contract.json_schema import DEFINITIONS, references
from clew_events.error_texts import quote_list
from clew_events.errors import Invalid
from clew_events.ids import THREAD_ID_PATTERN
from clew_events.operations import HttpRoute, Scope, Tag, http_routes
from clew_services.http.openapi import document

VERIFY: Final = "verify_thread"
_READ: Final[frozenset[Tag]] = frozenset({"Threads", "Messages", "Conversations", "History", "Feed"})
_LEFT_OUT: Final = frozenset({"list_runs"})
"""Routes that are there for programs of others, and answer nothing."""
_SCHEMAS: Final = "#/components/schemas/"
_STREAMS: Final = frozenset({"stream"})
"""Parameters that a tool does not take: it answers once."""
_MEANT_ONCE: Final = "idempotency_key"
_LONGEST_SHOWN: Final = 200
"""Characters of a wrong value that an error shows."""

Schema = dict[str, Any]


class Tool(Struct, frozen=True, kw_only=True):
    """A tool: its name, what it does, the schema of its arguments, and the scopes of which a key needs one.

    ``route`` is what answers it; None for the check of a thread.
    """

    name: str
    description: str
    arguments: Schema
    scopes: tuple[Scope, ...]
    route: HttpRoute | None = None

    @property
    def reads(self) -> bool:
        """Whether it changes nothing."""
        return self.route is None or self.route.method == "GET"


class HttpCall(Struct, frozen=True, kw_only=True):
    """A request to the API. ``once`` is the key under which it happens once, for what changes something."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    once: str | None = None


def tools(*, write: bool) -> dict[str, Tool]:
    """The tools by their names, in the order of the contract: those that read, and with ``write`` those that change."""
    found = {tool.name: tool for tool in _routed(write=write)}
    return {**found, VERIFY: _VERIFICATION}


def call_of(tool: Tool, arguments: Mapping[str, Any]) -> HttpCall:
    """The request to the API that a tool stands for, with arguments that :func:`check` took.

    Raises:
        LookupError: no route answers the tool.
    """
    if tool.route is None:
        raise LookupError(f"the tool {tool.name!r} is no route of the API")
    given = dict(arguments)
    path = tool.route.path
    for name in tool.arguments["required"]:
        if f"{{{name}}}" in path:
            path = path.replace(f"{{{name}}}", quote(given.pop(name), safe=""))
    body = encode(given.pop("body")) if "body" in given else None
    once = given.pop(_MEANT_ONCE, None)
    return HttpCall(method=tool.route.method, path=path, query=tuple(_parameters(given)), body=body, once=once)


def check(tool: Tool, arguments: Mapping[str, Any]) -> None:
    """Check the arguments of a call.

    Raises:
        Invalid: an argument is missing, unknown or of another form; the message names it.
    """
    fault = jsonschema.exceptions.best_match(jsonschema.Draft202012Validator(tool.arguments).iter_errors(arguments))
    if fault is not None:
        place = ".".join(map(str, fault.absolute_path))
        where = f" at {place!r}" if place else ""
        raise Invalid(f"Invalid arguments{where}: {_explain(fault)}", param=place or None)


def _explain(fault: jsonschema.ValidationError) -> str:
    """What is wrong, without all of a long value, which a model would have to read."""
    text, whole = fault.message, repr(fault.instance)
    if len(whole) > _LONGEST_SHOWN:
        text = text.replace(whole, f"{whole[:_LONGEST_SHOWN]}…")
    if fault.validator == "additionalProperties" and isinstance(fault.schema, Mapping):
        text += f": there are {quote_list(list(fault.schema.get('properties', ())))}"
    return text


def _routed(*, write: bool) -> Iterator[Tool]:
    described = document()
    for operation, route in http_routes():
        reads = route.method == "GET" and route.tag in _READ
        changes = write and route.method != "GET" and operation.scope == "write"
        if route.media_types or route.name in _LEFT_OUT or not (reads or changes):
            continue
        entry = described["paths"][route.path][route.method.lower()]
        yield Tool(
            name=route.name,
            description=f"{entry['summary']}. {entry['description']}",
            arguments=_arguments(entry, described["components"]["schemas"], reads=reads),
            scopes=operation.scopes,
            route=route,
        )


def _arguments(entry: Schema, schemas: Schema, *, reads: bool) -> Schema:
    parameters = [each for each in entry["parameters"] if each.get("in") in {"path", "query"}]
    properties: Schema = {
        each["name"]: {**each["schema"], "description": each["description"]}
        for each in parameters
        if each["name"] not in _STREAMS
    }
    required = [each["name"] for each in parameters if each["required"]]
    if (body := entry.get("requestBody")) is not None:
        properties["body"] = body["content"]["application/json"]["schema"]
        required += ["body"] if body["required"] else []
    if not reads:
        text = "The same key makes it happen once, however often it is called. Without one each call is another."
        properties[_MEANT_ONCE] = {"type": "string", "pattern": "^[!-~]{1,128}$", "description": text}
    whole = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    needed = _needed(whole, schemas)
    redirected: Schema = _redirect({**whole, **({"$defs": needed} if needed else {})})
    return redirected


def _needed(schema: object, schemas: Schema) -> Schema:
    """The schemas that one refers to, directly or not."""
    needed: Schema = {}
    waiting = [*references(schema)]
    while waiting:
        if (name := waiting.pop().removeprefix(_SCHEMAS)) not in needed:
            needed[name] = schemas[name]
            waiting += references(schemas[name])
    return dict(sorted(needed.items()))


def _redirect(schema: Any) -> Any:  # noqa: ANN401 - any JSON
    """The same schema whose references lead to its own definitions."""
    match schema:
        case {"$ref": str(reference)}:
            return {**schema, "$ref": reference.replace(_SCHEMAS, DEFINITIONS)}
        case dict():
            return {key: _redirect(value) for key, value in schema.items()}
        case list():
            return [_redirect(value) for value in schema]
        case _:
            return schema


def _parameters(given: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for name, value in given.items():
        for each in value if isinstance(value, list) else [value]:
            if each is not None:
                yield name, each if isinstance(each, str) else encode(each).decode()


_VERIFICATION: Final = Tool(
    name=VERIFY,
    description=(
        "Verify that nobody altered a thread's record: its audit pack is downloaded, and every byte, the chain of its "
        "commits, its seals and its signed checkpoint are checked here. Takes an API key with the scope `audit`."
    ),
    arguments={
        "type": "object",
        "properties": {
            "thread_id": {"type": "string", "pattern": THREAD_ID_PATTERN, "description": "The thread's id."},
        },
        "required": ["thread_id"],
        "additionalProperties": False,
    },
    scopes=("audit",),
)
