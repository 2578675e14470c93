"""What other programs' tests are given: a real Clew by fixture or context manager, and nothing where none is wanted."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
import urllib.request
from importlib.metadata import entry_points
from pathlib import Path

import pytest

from clew_events.client.sync import connect
from clew_services.testing import DidNotStart, running_clew
from support.up import SOURCES

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "testing" / "test_shop.py"
PLUGIN = "clew_services.pytest_plugin"

BYSTANDER = """
import sys

def test_of_somebody_who_does_not_care():
    heavy = {"nats", "msgspec", "click", "starlette", "uvicorn", "faststream", "clew_events", "clew_projections"}
    assert "PLUGIN" in sys.modules
    assert not heavy & set(sys.modules)
"""


def run_pytest(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Pytest as somebody else runs it, in a folder without any configuration."""
    environment = {**os.environ, "PYTHONPATH": SOURCES, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", PLUGIN, "-p", "no:cacheprovider", *arguments],
        cwd=folder, env=environment, capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip


def test_the_plugin_is_there_for_whoever_installs_clew() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    assert declared == {"clew": PLUGIN}
    assert PLUGIN in {each.value for each in entry_points(group="pytest11")}


def test_the_guide_shows_the_tests_as_they_are_and_they_pass(tmp_path: Path) -> None:
    shown = re.search(r"<!-- examples/testing/test_shop.py -->\n```python\n(.*?)```", guide(), re.DOTALL)
    assert shown is not None
    assert shown[1] == EXAMPLE.read_text()
    (tmp_path / "test_shop.py").write_text(shown[1])
    ran = run_pytest(tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "3 passed" in ran.stdout


def guide() -> str:
    return (ROOT / "docs" / "testing.md").read_text()


def test_who_does_not_ask_for_it_pays_nothing(tmp_path: Path) -> None:
    (tmp_path / "test_bystander.py").write_text(BYSTANDER.replace("PLUGIN", PLUGIN))
    ran = run_pytest(tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_settings_reach_it_and_nothing_of_it_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLEW_SHARDS", "none of its business")
    with running_clew(api_keys="key-of-our-tests:alpha") as server:
        assert server.api_key == "key-of-our-tests"
        headers = {"Authorization": "Bearer key-of-our-tests", "Content-Type": "application/json"}
        headers["OpenAI-Beta"] = "assistants=v2"
        request = urllib.request.Request(f"{server.base_url}/threads", b"{}", headers)
        with urllib.request.urlopen(request) as answer:
            thread = json.load(answer)["id"]
        with connect(server.nats_url, tenant="alpha") as clew:
            assert clew.get_thread(thread).n == 1
        assert server.data.is_dir()
    assert not server.data.parent.exists()
    with pytest.raises(OSError, match="refused"):
        urllib.request.urlopen(request)


def test_that_it_could_not_be_started_is_said_with_the_reason() -> None:
    with pytest.raises(DidNotStart, match="CLEW_SHARDS"), running_clew(shards=0):
        pass
