"""The guide to audit packs, run from top to bottom, on a thread with some history."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.up import ROOT, Up, clew, environment, running_up

GUIDE = (ROOT / "docs/packs.md").read_text()
BLOCK = re.compile(r"^```(python|bash)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINES = [
    line
    for found in BLOCK.finditer(GUIDE)
    if found[1] == "bash"
    for line in found[2].splitlines()
    if line.startswith("clew ")
]
(CODE,) = (found[2] for found in BLOCK.finditer(GUIDE) if found[1] == "python")


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("packs") / "data", "--checkpoints", "0") as running:
        yield running


@pytest.mark.timeout(240)
def test_the_guide_runs_from_top_to_bottom(up: Up, tmp_path: Path) -> None:
    shim = tmp_path / "bin" / "clew"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -W error -m clew_services.cli "$@"\n')
    shim.chmod(0o755)
    said = {"CLEW_DATA": str(up.data)}
    env = environment(**said, PATH=f"{shim.parent}{os.pathsep}{os.environ['PATH']}")

    def run(line: str) -> str:
        ran = subprocess.run(
            ["sh", "-c", line], env=env, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
        )
        assert ran.returncode == 0, f"{line}: {ran.stdout}{ran.stderr}"
        return ran.stdout

    assert clew("thread", "create", "--id", "thread_docs", "-m", "user=ada", env=said).returncode == 0
    assert clew("thread", "update", "thread_docs", "--set", "topic=weather", env=said).returncode == 0
    for line in ("checkpoint make", "checkpoint key > clew.pub", "checkpoint export kept.json --with-heads"):
        run(f"clew {line}")
    (tmp_path / "trial.py").write_text(CODE)
    assert len(LINES) >= 14
    for line in LINES:
        told = run(line.replace("thread_…", "thread_docs"))
        assert told.strip(), line
        if "what-if" in line:
            assert "1 thread would differ" in told
        if "clew.pub" in line:
            assert "signed with the key" in told
