"""The guide to audit packs, run from top to bottom, on a thread with some history."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cli import Shell, commands_in, programs_in
from support.up import Up, running_up

LINES = [line for line in commands_in("docs/packs.md") if line.startswith("clew ")]
(CODE,) = programs_in("docs/packs.md")


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("packs") / "data", "--checkpoints", "0") as running:
        yield running


def test_the_guide_runs_from_top_to_bottom(up: Up, tmp_path: Path) -> None:
    shell = Shell(up, tmp_path, **{"thread_…": "thread_docs"})
    shell.done("clew thread create --id thread_docs -m user=ada")
    shell.done("clew thread update thread_docs --set topic=weather")
    for line in ("checkpoint make", "checkpoint key > clew.pub", "checkpoint export kept.json --with-heads"):
        shell.done(f"clew {line}")
    (tmp_path / "trial.py").write_text(CODE)
    assert len(LINES) >= 14
    for line in LINES:
        told = shell.done(line, apart="what-if" in line)  # which imports a program
        if "what-if" in line:
            assert "1 thread would differ" in told
        if "clew.pub" in line:
            assert "signed with the key" in told
