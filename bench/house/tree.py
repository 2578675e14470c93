"""What the source of a tree says: modules, lines, names, and who imports whom. Reads any commit since the first."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections import Counter, defaultdict
from functools import cached_property
from pathlib import Path
from typing import Final

PACKAGES: Final = {"clew_events": "events", "clew_projections": "projections", "clew_services": "services"}
ROOT: Final = "clew_services.compose"
"""The composition root: a module, or a package and all that is in it."""
_NO_CODE: Final = {
    tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER,
    tokenize.ENCODING,
}  # fmt: skip


class Tree:
    """The three packages of a working tree."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.modules = {
            _name_of(file, root / folder): file
            for package, folder in PACKAGES.items()
            for file in sorted((root / folder / package).rglob("*.py"))
        }
        self._texts = {name: file.read_text(encoding="utf-8") for name, file in self.modules.items()}
        self._parsed = {name: ast.parse(text) for name, text in self._texts.items()}

    @property
    def lines(self) -> int:
        """Lines of all modules."""
        return sum(text.count("\n") for text in self._texts.values())

    @property
    def code_lines(self) -> int:
        """Those that are neither blank nor in a comment or a docstring."""
        return sum(
            len(lines_with_code(text) - docstring_lines(self._parsed[name])) for name, text in self._texts.items()
        )

    @property
    def gerunds(self) -> list[str]:
        """Modules named by one word that ends in -ing."""
        return [name for name in self.modules if re.fullmatch(r"[a-z]+ing", name.rpartition(".")[2])]

    @property
    def repeated(self) -> dict[str, list[str]]:
        """Base names of modules, packages left out, that several modules have."""
        places = defaultdict(list)
        for name, file in self.modules.items():
            if not file.stem.startswith("__"):
                places[file.stem].append(name)
        return {base: names for base, names in places.items() if len(names) > 1}

    @cached_property
    def imports(self) -> dict[str, set[tuple[str, str]]]:
        """What each module imports, ever: the module, and the name from it or nothing."""
        return {name: set(self._imported(name)) for name in self.modules}

    def package_of(self, module: str) -> str:
        """The folder one below the top package; nothing for what lies in the top package itself."""
        parts = module.split(".")
        return ".".join(parts[:2]) if len(parts) > 2 or self.modules[module].name == "__init__.py" else ""

    @property
    def mutual(self) -> dict[tuple[str, str], list[str]]:
        """Pairs of packages that import each other, and by which modules."""
        edges: dict[tuple[str, str], list[str]] = defaultdict(list)
        for module, imported in self.imports.items():
            for name, _ in imported:
                edge = self.package_of(module), self.package_of(name)
                if all(edge) and edge[0] != edge[1]:
                    edges[edge].append(f"{module} imports {name}")
        return {
            edge: edges[edge] + edges[edge[::-1]] for edge in sorted(edges) if edge[::-1] in edges and edge[0] < edge[1]
        }

    @property
    def know_the_root(self) -> list[str]:
        """Modules outside the composition root that import anything of it."""
        return [
            module
            for module, imported in self.imports.items()
            if not _is_in(module, ROOT) and any(_is_in(name, ROOT) for name, _ in imported)
        ]

    @property
    def take_the_root(self) -> list[str]:
        """Those of them that name its class."""
        return [
            module
            for module in self.know_the_root
            if (ROOT, "Clew") in self.imports[module] or "compose.Clew" in self._texts[module]
        ]

    @property
    def longest(self) -> int:
        """Lines of the longest module."""
        return max(text.count("\n") for text in self._texts.values())

    def _imported(self, module: str) -> list[tuple[str, str]]:
        found = []
        for node in ast.walk(self._parsed[module]):
            if isinstance(node, ast.ImportFrom) and node.module is not None:
                for alias in node.names:
                    whole = f"{node.module}.{alias.name}"
                    found.append((whole, "") if whole in self.modules else (node.module, alias.name))
            elif isinstance(node, ast.Import):
                found += [(alias.name, "") for alias in node.names]
        return [(name, what) for name, what in found if name in self.modules and name != module]


def lines_with_code(text: str) -> set[int]:
    """The lines that hold a token other than a comment."""
    return {
        line
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type not in _NO_CODE
        for line in range(token.start[0], token.end[0] + 1)
    }


def docstring_lines(tree: ast.Module) -> set[int]:
    """The lines of every string that stands alone: docstrings, and those below an attribute."""
    return {
        line
        for node in ast.walk(tree)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }


def most(repeated: dict[str, list[str]]) -> int:
    """How many modules have the base name that most have."""
    return max(Counter({base: len(names) for base, names in repeated.items()}).values(), default=0)


def _is_in(module: str, package: str) -> bool:
    return module == package or module.startswith(f"{package}.")


def _name_of(file: Path, home: Path) -> str:
    parts = file.relative_to(home).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
