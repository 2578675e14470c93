"""What docstrings and documents refer to is there: a module of ours, something in one, a file."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from support.source import MODULES, ROOT

REFERENCE = re.compile(r":(?:mod|class|func|meth|data):`~?(?:[^`<]*<)?([\w.]+)>?`")


def names_in(module: str) -> set[str]:
    """Everything that a module defines or imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8"))):
        match node:
            case ast.ClassDef(name=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                found.add(name)
            case ast.Name(id=name, ctx=ast.Store()):
                found.add(name)
            case ast.alias(name=name, asname=other):
                found.add(other or name)
    return found


def is_there(reference: str) -> bool:
    module, names = reference, []
    while module and module not in MODULES:
        module, _, name = module.rpartition(".")
        names.append(name)
    return bool(module) and "." in module and (not names or names[-1] in names_in(module))


def references(module: str) -> set[str]:
    """What a module refers to, as full names; one that begins with a dot is in the same package."""
    file = MODULES[module]
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    said = set(REFERENCE.findall(file.read_text(encoding="utf-8")))
    return {package + each if each.startswith(".") else each for each in said if each.startswith((".", "clew_"))}


def test_what_a_docstring_refers_to_is_there() -> None:
    found = {(module, reference) for module in MODULES for reference in references(module)}
    assert len(found) > 50
    assert {each for each in found if not is_there(each[1])} == set()


def documents() -> list[Path]:
    return [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "infra").rglob("*.md")]


def test_what_a_document_names_is_there() -> None:
    folders = "events", "projections", "services", "adapters", "tests", "bench", "docs", "infra", ".ci"
    files = [file.relative_to(ROOT).as_posix() for folder in folders for file in (ROOT / folder).rglob("*")]
    missing = set()
    for document in documents():
        for said in re.findall(r"`([^`\n]+)`", document.read_text(encoding="utf-8")):
            if re.fullmatch(r"clew_(events|projections|services|adapters)(\.\w+)+", said) and not is_there(said):
                missing.add((document.name, said))
            if re.fullmatch(r"[\w/.-]+\.(py|md|conf|yml|yaml)", said) and not any(
                file == said or file.endswith(f"/{said}") for file in files
            ):
                missing.add((document.name, said))
    assert len(documents()) > 60
    assert missing == set()


def test_a_reference_to_what_is_not_there_is_found() -> None:
    assert is_there("clew_services.threads.decide")
    assert is_there("clew_services.threads.handler.Handler.handle")
    assert not is_there("clew_services.threads.handler.Nobody")
    assert not is_there("clew_services.apps.inbox")
