"""No package imports a package that imports it, and no module is loaded by what it loads."""

from __future__ import annotations

import ast
from functools import cache

from bench.house.tree import Tree

from support.source import MODULES, ROOT, tree_of


@cache
def imports(module: str) -> set[str]:
    """The modules that one imports when it is loaded."""
    reached = set()
    for node in tree_of(module).body:
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                reached.add(whole if whole in MODULES else node.module)
        elif isinstance(node, ast.Import):
            reached.update(alias.name for alias in node.names)
    return {name for name in reached if name in MODULES and name != module}


def reachable(start: str) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for name in imports(waiting.pop()) - seen:
            seen.add(name)
            waiting.append(name)
    return seen


def test_no_two_packages_import_each_other() -> None:
    house = Tree(ROOT)
    assert sum(map(len, house.imports.values())) > 500
    assert house.mutual == {}


def test_no_module_loads_what_loads_it() -> None:
    circular = sorted(module for module in MODULES if module in reachable(module))
    assert circular == []
