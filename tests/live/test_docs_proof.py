"""The guide to proofs, run from top to bottom as an auditor would, on a thread with some history."""

from __future__ import annotations

import json
import stat
from collections.abc import Iterator

import pytest

from support.cli import Shell, commands_in
from support.up import Up, running_up

LINES = [line for line in commands_in("docs/proof.md") if line.startswith("clew ")]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("proof") / "data", "--checkpoints", "0") as running:
        yield running


@pytest.fixture(scope="module")
def shell(up: Up, tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """With a thread that has two commits."""
    made = Shell(up, tmp_path_factory.mktemp("auditor"), **{"thread_…": "thread_docs"})
    made.done("clew thread create --id thread_docs -m user=ada")
    made.done("clew thread update thread_docs --set topic=weather")
    return made


def test_the_guide_runs_from_top_to_bottom(shell: Shell) -> None:
    assert len(LINES) >= 9
    for line in LINES:
        shell.done(line)
    assert json.loads((shell.folder / "kept.json").read_text())["clew"] == "checkpoint"

    # What is altered on the way, or checked with somebody else's key, is refused, each in its own words.
    kept = (shell.folder / "kept.json").read_text()
    for forged, says in (
        (kept.replace('"thread_docs",2', '"thread_docs",3'), "heads of shard"),
        (kept.replace('\\"number\\":1', '\\"number\\":2'), "altered after it was signed"),
        (kept[:-20], "not an exported checkpoint"),
        (kept.replace('"v":1', '"v":2', 1), "newer Clew"),
        ("{}", "not an exported checkpoint"),
    ):
        (shell.folder / "forged.json").write_text(forged)
        ran = shell("clew verify --against forged.json --key clew.pub")
        assert ran.returncode in {1, 5}, ran.stdout
        assert says in ran.stderr
    shell.done("clew checkpoint keygen --signing-key ./stranger > stranger.pub")
    for line in ("clew verify --against kept.json", "clew checkpoint check proof.json"):
        ran = shell(f"{line} --key stranger.pub")
        assert ran.returncode == 5
        assert "unknown_key" in ran.stderr
    proof = (shell.folder / "proof.json").read_text()
    (shell.folder / "proof.json").write_text(proof.replace("weather", "whether"))
    ran = shell("clew checkpoint check proof.json --key clew.pub")
    assert ran.returncode == 5
    assert "broken_seal" in ran.stderr


def test_keys_are_secret_made_once_and_missed_in_clear_words(shell: Shell, up: Up) -> None:
    assert stat.S_IMODE((up.data / "signing-key").stat().st_mode) == 0o600
    again = shell("clew checkpoint keygen")
    assert (again.returncode, "key_exists" in again.stderr) == (1, True)
    for line in ("make", "key", "export kept.json"):
        ran = shell(f"clew checkpoint {line} --data ./nowhere")
        assert (ran.returncode, "no_key" in ran.stderr) == (1, True), ran.stderr
    assert shell("clew checkpoint show 77").returncode == 6
    assert shell("clew verify thread_docs --against /dev/null").returncode == 2
