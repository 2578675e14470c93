from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.source import MODULES, PACKAGES, ROOT
from support.up import environment

ARROW = ("clew_services", "clew_projections", "clew_events")
FRAMEWORKS = {
    "adk": {"google", "pydantic", "pydantic_core"},
    "langchain": {"langchain_core"},
    "agents": {"agents"},
    "agent_framework": {"agent_framework"},
    "chatkit": {"chatkit", "pydantic"},
}
"""What each adapter may import beside the client: its framework, and what that comes with."""
PURE = ("clew_services.threads.decide", "clew_projections.fold", "clew_projections.views")
IMPURE = {
    "asyncio",
    "http",
    "io",
    "logging",
    "nats",
    "os",
    "pathlib",
    "random",
    "secrets",
    "socket",
    "subprocess",
    "threading",
    "time",
    "uuid",
}
IMPURE_CALLS = {"now", "utcnow", "today", "random", "open", "print"}
# Ids are made here, derived ones and random ones alike; that a pure module takes only the former is asked of its calls.
MAKES_IDS = "clew_events.ids"


def files() -> Iterator[tuple[str, Path]]:
    for package, home in PACKAGES.items():
        for file in sorted((home / package).rglob("*.py")):
            yield package, file


def imports(file: Path) -> set[str]:
    """Everything a module imports, wherever in it, as dotted names; ``from a import b`` gives ``a`` and ``a.b``."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            assert node.module is not None
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def tops(file: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(file)}


def test_each_folder_holds_the_one_package_named_after_it() -> None:
    for package, home in PACKAGES.items():
        assert package == f"clew_{home.name}"
        assert [child.name for child in home.iterdir() if child.is_dir() and child.name != "__pycache__"] == [package]
        assert not list(home.glob("*.py"))
        assert (home / package / "py.typed").is_file()
        assert (home / package / "__init__.py").is_file()


@pytest.mark.parametrize("package", ARROW)
def test_imports_go_along_the_arrow_and_never_back(package: str) -> None:
    upstream = set(ARROW[: ARROW.index(package)])
    looked_at = 0
    for home, file in files():
        if home == package:
            looked_at += 1
            assert not tops(file) & upstream, f"{file.relative_to(ROOT)} imports against the arrow"
    assert looked_at > 5


def test_an_adapter_knows_the_client_and_one_framework_and_nobody_knows_an_adapter() -> None:
    shared = {*sys.stdlib_module_names, "msgspec", "clew_adapters", "clew_events"}
    adapters = [file for package, file in files() if package == "clew_adapters"]
    assert FRAMEWORKS.keys() == {file.stem for file in adapters} - {"__init__", "conversation"}
    for file in adapters:
        assert tops(file) <= shared | FRAMEWORKS.get(file.stem, set()), file
        ours = {name for name in imports(file) if name.startswith("clew_adapters.")}
        assert all(name.startswith("clew_adapters.conversation") for name in ours), file
    for package, file in files():
        assert package == "clew_adapters" or "clew_adapters" not in file.read_text(encoding="utf-8"), file


def test_what_a_publisher_installs_needs_msgspec_and_nats_alone() -> None:
    allowed = {*sys.stdlib_module_names, "msgspec", "nats", "clew_events"}
    extra = {"nats_security.py": {"cryptography"}}  # of those who log in with NKeys
    for package, file in files():
        if package == "clew_events":
            more = tops(file) - allowed - extra.get(file.name, set())
            assert not more, f"{file.relative_to(ROOT)} needs {more}"


def test_below_the_services_nothing_is_imported_by_a_name_worked_out_at_run_time() -> None:
    for package, file in files():
        if package != "clew_services":
            assert not tops(file) & {"importlib", "runpy"}, file
            assert "__import__" not in file.read_text(encoding="utf-8"), file


def test_only_the_services_know_frameworks() -> None:
    allowed = {*sys.stdlib_module_names, "msgspec", "nats", "zstandard", "clew_events", "clew_projections"}
    for package, file in files():
        if package == "clew_projections":
            assert tops(file) <= allowed, f"{file.relative_to(ROOT)} needs {tops(file) - allowed}"


def closure(start: str) -> set[str]:
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        name = waiting.pop()
        if name in MODULES and name not in reached and name != MAKES_IDS:
            reached.add(name)
            waiting.extend(imports(MODULES[name]))
    return reached


@pytest.mark.parametrize("start", PURE)
def test_rules_and_folds_have_no_clock_no_chance_and_no_io_nor_has_anything_they_use(start: str) -> None:
    assert start in MODULES
    for name in closure(start):
        file = MODULES[name]
        assert not tops(file) & IMPURE, f"{name}, which {start} uses, imports {tops(file) & IMPURE}"
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                assert called not in IMPURE_CALLS, f"{name}:{node.lineno} calls {called}"
            assert not isinstance(node, (ast.AsyncFunctionDef, ast.Await, ast.Global)), f"{name}:{node.lineno}"


def test_everything_the_rules_use_is_looked_at() -> None:
    reached = closure("clew_services.threads.decide")
    assert {
        "clew_services.threads.decide",
        "clew_projections.fold",
        "clew_events.events",
        "clew_events.commands",
    } <= reached


def test_the_rules_use_nothing_of_the_services_but_what_stands_beside_them() -> None:
    beside = {name for name in closure("clew_services.threads.decide") if name.startswith("clew_services")}
    assert "clew_services.threads.limits" in beside
    assert {name for name in beside if not name.startswith("clew_services.threads")} == set()


@pytest.mark.parametrize("shape", ["array", "object", "string"])
def test_a_sentence_of_openai_is_written_in_one_place(shape: str) -> None:
    article = "a" if shape == "string" else "an"
    sentence = re.compile(rf"Expected {article} {shape} with\b".replace(" ", r"[\s\"f]+"))
    found = [name for name, file in MODULES.items() if sentence.search(file.read_text(encoding="utf-8"))]
    assert found == ["clew_events.error_texts"]


def test_frameworks_are_known_at_the_edges_only() -> None:
    frameworks = {"starlette", "uvicorn", "faststream", "click", "rich", "uvloop"}
    edges = ("clew_services.http", "clew_services.nats_api", "clew_services.cli")
    for name, file in MODULES.items():
        if not name.startswith(edges):
            assert not tops(file) & frameworks, f"{name} imports {tops(file) & frameworks}"


def test_a_library_that_few_processes_need_is_loaded_by_those_alone() -> None:
    heavy = (
        "faststream",
        "jsonschema",
        "opentelemetry.trace",
        "uvicorn",
        "starlette.routing",
        "cryptography",
        "rich.console",
    )
    program = (
        "import sys, clew_services.process.serve, clew_services.cli.thread, clew_services.cli.up; "
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], env=environment(), capture_output=True, text=True, timeout=60, check=True
    )
    assert ran.stdout.strip() == "[]"
