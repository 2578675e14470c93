"""The maps: packages in docs/architecture.md, settings and roles in the guide, and what a package gives away."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import click
import pytest

from clew_events.operations import OPERATIONS
from clew_services.cli import main
from clew_services.process.serve import ROLES
from clew_services.settings import Settings

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "clew_events": "events",
    "clew_projections": "projections",
    "clew_services": "services",
    "clew_adapters": "adapters",
}
MAP = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
GUIDE = (ROOT / "docs/operating/settings.md").read_text(encoding="utf-8")
SETTINGS = {field: getattr(Settings(), field) for field in Settings.__struct_fields__}


@cache
def texts() -> dict[Path, str]:
    return {
        file: file.read_text(encoding="utf-8") for folder in PACKAGES.values() for file in (ROOT / folder).rglob("*.py")
    }


def rows(document: str, heading: str) -> list[list[str]]:
    """The cells of the tables under a heading, without the tables' own headings."""
    found = re.search(rf"^##+ {re.escape(heading)}\n(.*?)(?=^##+ |\Z)", document, re.MULTILINE | re.DOTALL)
    assert found is not None, heading
    tables = re.findall(r"^\|[-| ]+\|\n((?:\|.*\n?)+)", found[1], re.MULTILINE)
    return [[cell.strip() for cell in row.strip("|").split(" | ")] for table in tables for row in table.splitlines()]


def packages(name: str) -> set[str]:
    home = ROOT / PACKAGES[name] / name
    return {f"{file.parent.relative_to(home).as_posix()}/" for file in home.rglob("__init__.py")} - {"./"}


def inits() -> list[Path]:
    return sorted(file for name, home in PACKAGES.items() for file in (ROOT / home / name).rglob("__init__.py"))


def declared(tree: ast.Module) -> list[list[str]]:
    """Each ``__all__`` of a module."""
    return [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__all__"]
    ]


def bound(tree: ast.Module) -> set[str]:
    """The public names that a module binds; other modules of Clew are none of its own."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module != "__future__":
            names |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            names.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return {name for name in names if not name.startswith("_")}


@pytest.mark.parametrize("name", PACKAGES)
def test_every_package_has_its_line_on_the_map_and_every_line_its_package(name: str) -> None:
    heading = next(line for line in re.findall(r"^### (.*)$", MAP, re.MULTILINE) if f"{name}/" in line)
    lines = [row[0].strip("`") for row in rows(MAP, heading)]
    assert sorted(lines) == sorted(packages(name))
    assert all(len(row) == 2 and row[1] for row in rows(MAP, heading))


def test_every_setting_stands_in_the_guide_with_its_variable_and_its_default() -> None:
    written = {row[0].strip("`"): row for row in rows(GUIDE, "Settings")}
    assert set(written) == {"--" + name.replace("_", "-") for name in SETTINGS}
    for name, default in SETTINGS.items():
        option, variable, said, does = written["--" + name.replace("_", "-")]
        assert variable == f"`CLEW_{name.upper()}`", option
        assert said.startswith(f"`{default}`") if default != "" else said, f"{option} is {default!r} by default"
        assert len(does) > 20, option


def test_every_setting_is_an_option_of_up_or_serve_by_the_variable_of_the_guide() -> None:
    context = click.Context(main)
    options = {
        option.name: option.envvar
        for name in ("up", "serve")
        if (command := main.get_command(context, name)) is not None
        for option in command.params
        if option.name in SETTINGS
    }
    assert options == {name: f"CLEW_{name.upper()}" for name in SETTINGS}


@pytest.mark.parametrize(
    ("user", "scope"),
    [
        *(("acme-reader", "read"), ("acme-auditor", "audit"), ("acme-eraser", "erase"), ("acme-counsel", "hold")),
        ("acme-archivist", "retention"),
    ],
)
def test_a_user_of_a_tenant_may_ask_each_query_of_its_scope_and_no_other(user: str, scope: str) -> None:
    queries = {each.name for each in OPERATIONS if each.query is not None and scope in each.scopes}
    assert set(re.findall(r'"clew\.query\.acme\.(\w+)"', _rights(user))) == queries


@pytest.mark.parametrize("door", ["cmd", "inbox"])
def test_who_erases_or_holds_may_send_each_command_for_it_and_who_publishes_all_others(door: str) -> None:
    named = rf'"clew\.{door}\.acme\.(\w+)"'
    special = {each.name for each in OPERATIONS if each.reads}
    for user, scope in (("acme-eraser", "erase"), ("acme-counsel", "hold"), ("acme-archivist", "retention")):
        commands = {each.name for each in OPERATIONS if each.command is not None and each.scope == scope}
        assert set(re.findall(named, _rights(user).partition("deny:")[0])) == commands
        special |= commands
    assert set(re.findall(named, _rights("acme-publisher").partition("deny:")[2])) == special


def _rights(user: str) -> str:
    accounts = (ROOT / "infra/nats/accounts.conf").read_text(encoding="utf-8")
    return accounts.partition(f"user: {user},")[2].partition("subscribe:")[0]


def test_every_role_stands_in_the_guide() -> None:
    assert [row[0].strip("`") for row in rows(GUIDE, "Roles")] == list(ROLES)


@pytest.mark.parametrize("file", inits(), ids=lambda file: file.parent.name)
def test_what_a_package_gives_away_it_declares_once_and_in_order(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    lists = declared(tree)
    if not lists:
        shown = {name for name in bound(tree) if not _is_module(file, name) and _is_shared(file, name)}
        assert not shown, f"others import {sorted(shown)} from {file.parent.name}, which declares no __all__"
        return
    assert len(lists) == 1
    assert len(set(lists[0])) == len(lists[0])
    assert set(lists[0]) <= bound(tree)


def _is_module(file: Path, name: str) -> bool:
    return (file.parent / f"{name}.py").exists() or (file.parent / name / "__init__.py").exists()


def _is_shared(file: Path, name: str) -> bool:
    """Whether another module imports a name from a package itself."""
    home = next(ROOT / folder for folder in PACKAGES.values() if file.is_relative_to(ROOT / folder))
    package = ".".join(file.parent.relative_to(home).parts)
    wanted = re.compile(rf"^from {re.escape(package)} import [^\n(]*\b{name}\b", re.MULTILINE)
    return any(wanted.search(text) for other, text in texts().items() if other != file)


def test_a_missing_row_is_found() -> None:
    assert rows("## A\n\n| x | y |\n|---|---|\n| `a` | b |\n\n## B\n", "A") == [["`a`", "b"]]
    assert "clew_services" in PACKAGES
    assert {"http/", "http/routes/", "cli/"} <= packages("clew_services")


def test_what_a_decision_holds_in_is_called_by_its_name() -> None:
    checked = 0
    for file in (ROOT / "docs" / "decisions").glob("[0-9]*.md"):
        head = file.read_text(encoding="utf-8").partition("## Context")[0]
        for name, link in re.findall(r"\[`([^`]+)`\]\(([^)]+)\)", head):
            parts = (file.parent / link).resolve().relative_to(ROOT).parts
            right = {f"{part}/" for part in parts} if name.endswith("/") else {parts[-1]}
            assert name in right, f"{file.name}: {name}"
            checked += 1
    assert checked > 50
