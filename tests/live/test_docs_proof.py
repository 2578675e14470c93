"""The guide to proofs, run from top to bottom as an auditor would, on a thread with some history."""

from __future__ import annotations

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.up import ROOT, Up, clew, environment, running_up

GUIDE = (ROOT / "docs/proof.md").read_text()
LINES = [
    line
    for block in re.findall(r"^```bash\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
    if line.startswith("clew ")
]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("proof") / "data", "--checkpoints", "0") as running:
        yield running


@pytest.fixture(scope="module")
def at_home(up: Up, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which ``clew`` is a command, and there is a thread and a key."""
    folder = tmp_path_factory.mktemp("bin")
    shim = folder / "clew"
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -W error -m clew_services.cli "$@"\n')
    shim.chmod(0o755)
    env = {"CLEW_DATA": str(up.data)}
    assert clew("thread", "create", "--id", "thread_docs", "-m", "user=ada", env=env).returncode == 0
    assert clew("thread", "update", "thread_docs", "--set", "topic=weather", env=env).returncode == 0
    return environment(**env, PATH=f"{folder}{os.pathsep}{os.environ['PATH']}")


def run(line: str, env: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-c", line], env=env, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.timeout(240)
def test_the_guide_runs_from_top_to_bottom(at_home: dict[str, str], tmp_path: Path) -> None:
    assert len(LINES) >= 9
    for line in LINES:
        ran = run(line.replace("thread_…", "thread_docs"), at_home, tmp_path)
        assert ran.returncode == 0, f"{line}: {ran.stderr}"
        assert ran.stdout.strip() or ">" in line, line
    assert json.loads((tmp_path / "kept.json").read_text())["clew"] == "checkpoint"

    # What is altered on the way, or checked with somebody else's key, is refused, each in its own words.
    kept = (tmp_path / "kept.json").read_text()
    for forged, says in (
        (kept.replace('"thread_docs",2', '"thread_docs",3'), "heads of shard"),
        (kept.replace('\\"number\\":1', '\\"number\\":2'), "altered after it was signed"),
        (kept[:-20], "not an exported checkpoint"),
        (kept.replace('"v":1', '"v":2', 1), "newer Clew"),
        ("{}", "not an exported checkpoint"),
    ):
        (tmp_path / "forged.json").write_text(forged)
        ran = run("clew verify --against forged.json --key clew.pub", at_home, tmp_path)
        assert ran.returncode in {1, 5}, ran.stdout
        assert says in ran.stderr
    stranger = run("clew checkpoint keygen --signing-key ./stranger > stranger.pub", at_home, tmp_path)
    assert stranger.returncode == 0, stranger.stderr
    for line in ("clew verify --against kept.json", "clew checkpoint check proof.json"):
        ran = run(f"{line} --key stranger.pub", at_home, tmp_path)
        assert ran.returncode == 5
        assert "unknown_key" in ran.stderr
    proof = (tmp_path / "proof.json").read_text()
    (tmp_path / "proof.json").write_text(proof.replace("weather", "whether"))
    ran = run("clew checkpoint check proof.json --key clew.pub", at_home, tmp_path)
    assert ran.returncode == 5
    assert "broken_seal" in ran.stderr


def test_keys_are_secret_made_once_and_missed_in_clear_words(at_home: dict[str, str], up: Up, tmp_path: Path) -> None:
    assert stat.S_IMODE((up.data / "signing-key").stat().st_mode) == 0o600
    again = run("clew checkpoint keygen", at_home, tmp_path)
    assert (again.returncode, "key_exists" in again.stderr) == (1, True)
    for line in ("make", "key", "export kept.json"):
        ran = run(f"clew checkpoint {line} --data ./nowhere", at_home, tmp_path)
        assert (ran.returncode, "no_key" in ran.stderr) == (1, True), ran.stderr
    assert run("clew checkpoint show 77", at_home, tmp_path).returncode == 6
    assert run("clew verify thread_docs --against /dev/null", at_home, tmp_path).returncode == 2
