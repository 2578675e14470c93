"""The guides to audit packs and to threads from elsewhere, run from top to bottom."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cli import Shell, commands_in, programs_in
from support.exports import EXPORTS
from support.up import Up, running_up
from support.waiting import wait_until

LINES = [line for line in commands_in("docs/packs.md") if line.startswith("clew ")]
(CODE,) = programs_in("docs/packs.md")
IMPORTS = commands_in("docs/import.md")
(IMPORT,) = programs_in("docs/import.md")


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


def test_the_guide_to_importing_runs_from_top_to_bottom(
    up: Up, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shell = Shell(up, tmp_path)
    for name, example in (("conversations.json", "chatgpt.json"), ("threads.jsonl", "openai.jsonl")):
        shutil.copy(EXPORTS / example, tmp_path / name)
    shutil.copy(EXPORTS / "langgraph.jsonl", tmp_path / "states.jsonl")
    (tmp_path / "secret.txt").write_text("a secret")
    told = [shell.done(line) for line in IMPORTS if "thread list" not in line]
    assert [text.partition(" ")[0] for text in told] == ["would", "imported", "imported", "imported"]
    (find,) = (line for line in IMPORTS if "thread list" in line)
    wait_until(lambda: "conv_" in shell.done(find))
    monkeypatch.setattr(sys, "argv", ["import.py", up.nats_url, str(tmp_path / "conversations.json")])
    exec(compile(IMPORT, "import.py", "exec"), {"__name__": "__main__"})
    assert "there already" in capsys.readouterr().out
