"""The contract, written out for programs in other languages: JSON Schema and AsyncAPI.

``python -m clew_events.contract.contract_files FOLDER`` writes one file per document. The same types always give the
same bytes, so the files can be kept under version control and compared.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from clew_events.contract.asyncapi import asyncapi
from clew_events.contract.json_schema import json_schema

__all__ = ["asyncapi", "documents", "json_schema", "render", "write"]


def documents() -> dict[str, object]:
    """Every document of the contract by its file's name without the ``.json``."""
    return {**json_schema(), "asyncapi": asyncapi()}


def render(document: object) -> str:
    """A document as it stands in its file: indented, in UTF-8 as it is, ending in a newline."""
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def write(folder: Path, contract: Mapping[str, object] | None = None) -> list[Path]:
    """Write the contract into a folder, which is made if need be, and say which files it consists of."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for name, document in (contract or documents()).items():
        file = folder / f"{name}.json"
        file.write_text(render(document), encoding="utf-8", newline="\n")
        files.append(file)
    return files


def main(arguments: Sequence[str]) -> int:
    """Write the contract into the one folder that is named; the exit code."""
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m clew_events.contract.contract_files FOLDER\n")
        return 2
    for file in write(Path(arguments[0])):
        sys.stdout.write(f"{file}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
