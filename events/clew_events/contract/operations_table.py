"""The table of operations for people: what each scope of an API key allows, on NATS and over HTTP."""

from __future__ import annotations

from clew_events import operations
from clew_events.operations import SCOPES, Operation, Scope, http_routes

_HEAD = """# Operations

Everything that can be done, by the scope that an API key needs for it over HTTP. Over NATS, the permissions of the user
decide instead. `make schema` writes this file from `clew_events.operations`.
"""


def operations_table() -> str:
    """A Markdown document with a table of operations for each scope."""
    return "\n".join([_HEAD, *map(_section, SCOPES)])


def _section(scope: Scope) -> str:
    rows = [_row(operation) for operation in operations.OPERATIONS if operation.scope == scope]
    title = ("| operation | on NATS | over HTTP |", "|---|---|---|")
    return "\n".join([f"## `{scope}`", "", SCOPES[scope], "", *title, *rows, ""])


def _row(operation: Operation) -> str:
    subject = f"`{operation.subject('<tenant>')}`" if operation.request is not None else ""
    doors = [f"`{route.method} {route.path}`" for route in operation.routes]
    doors += [f"`{route.method} {route.path}?as_of=…`" for _, route in http_routes() if route.also == operation.name]
    return f"| `{operation.name}` | {subject} | {', '.join(doors)} |"
