"""Writes the contract: JSON Schema and AsyncAPI for programs in other languages, and for people a table of operations.

``python -m clew_events.contract.contract_files FOLDER`` writes one file per document. The same types always give the
same bytes, so the files can be compared under version control.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from clew_events.contract.asyncapi import asyncapi
from clew_events.contract.json_schema import json_schema
from clew_events.contract.operations_table import operations_table

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


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
