"""Writes the contract: JSON Schema and AsyncAPI for programs in other languages, and for people a table of operations.

``python -m clew_events.contract.contract_files FOLDER`` writes one file per document. The same types always give the
same bytes, so the files can be compared under version control.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from clew_events import operations
from clew_events.contract.asyncapi import asyncapi
from clew_events.contract.json_schema import json_schema
from clew_events.operations import SCOPES, Operation, Scope, http_routes

__all__ = ["asyncapi", "documents", "json_schema", "render", "write"]


def documents() -> dict[str, object]:
    """The documents of the contract, by file name without ``.json``."""
    return {**json_schema(), "asyncapi": asyncapi()}


def render(document: object) -> str:
    """The text of a document's file: indented JSON, not escaped to ASCII, ending in a newline."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def write(folder: Path, contract: Mapping[str, object] | None = None) -> list[Path]:
    """Write the contract to a folder, which is created if it does not exist, and return the files written."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, document in (contract or documents()).items():
        file = folder / f"{name}.json"
        file.write_text(render(document), encoding="utf-8", newline="\n")
        files.append(file)
    table = folder / "operations.md"
    table.write_text(operations_table(), encoding="utf-8", newline="\n")
    return [*files, table]


def main(arguments: Sequence[str]) -> int:
    """Write the contract to the folder in ``arguments``, and return the exit code."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m clew_events.contract.contract_files FOLDER\n")
        return 2
    for file in write(Path(arguments[0])):
        sys.stdout.write(f"{file}\n")
    return 0


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
    if operation.anyone:
        doors.append("with any key")
    if operation.alternative is not None:
        doors.append(f"with `{operation.alternative}` too")
    return f"| `{operation.name}` | {subject} | {', '.join(doors)} |"


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
