"""The modules of the packages, by their dotted names, and what is written in them."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
PACKAGES: Final = {
    "clew_events": ROOT / "events",
    "clew_projections": ROOT / "projections",
    "clew_services": ROOT / "services",
    "clew_adapters": ROOT / "adapters",
}


def name_of(file: Path, home: Path) -> str:
    """The name that a file below ``home`` is imported by; a package's own for its ``__init__``."""
    parts = file.relative_to(home).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES: Final[dict[str, Path]] = {
    name_of(file, home): file for package, home in PACKAGES.items() for file in sorted((home / package).rglob("*.py"))
}


@cache
def tree_of(module: str) -> ast.Module:
    """The syntax tree of a module. Parsed when a test asks, because every process collects all tests and runs few."""
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))
