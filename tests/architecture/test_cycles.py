"""No package imports a package that imports it, and no module is loaded by what it loads."""

from __future__ import annotations

import ast
from collections import defaultdict

from support.source import MODULES


def package_of(module: str) -> str:
    """The folder one below the top package, or the top package for what lies in it directly."""
    parts = module.split(".")
    below = len(parts) > 2 or MODULES[module].name == "__init__.py"
    return ".".join(parts[:2]) if below else parts[0]


def imports(module: str, *, lazy: bool) -> set[str]:
    """The modules that one imports when it is loaded, or ``lazy``: ever, those for the type checker included."""
    reached = set()
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    for node in ast.walk(tree) if lazy else tree.body:
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                reached.add(whole if whole in MODULES else node.module)
        elif isinstance(node, ast.Import):
            reached.update(alias.name for alias in node.names)
    return {name for name in reached if name in MODULES and name != module}


EVER = {module: imports(module, lazy=True) for module in MODULES}
LOADED = {module: imports(module, lazy=False) for module in MODULES}


def reachable(start: str) -> set[str]:
    seen: set[str] = set()
    waiting = [start]
    while waiting:
        for name in LOADED[waiting.pop()] - seen:
            seen.add(name)
            waiting.append(name)
    return seen


def test_no_two_packages_import_each_other() -> None:
    edges = defaultdict(list)
    for module, imported in EVER.items():
        for name in imported:
            one, other = package_of(module), package_of(name)
            if one != other and one.count(".") and other.count("."):
                edges[one, other].append(f"{module} imports {name}")
    assert len(edges) > 50
    mutual = {pair: edges[pair] + edges[pair[::-1]] for pair in edges if pair[::-1] in edges and pair[0] < pair[1]}
    assert mutual == {}


def test_no_module_loads_what_loads_it() -> None:
    circular = sorted(module for module in MODULES if module in reachable(module))
    assert circular == []
