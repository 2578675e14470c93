"""Files that a caller names: what is none of the kind is the caller's mistake, and only what is damaged is corrupt."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from clew_services.cli import main

WRONG = [
    ("verify", "--against"),
    ("verify", "--pack"),
    ("checkpoint", "check"),
    ("import",),
    ("history", "thread_a", "--pack"),
    ("what-if", "--fold", "json:loads", "--pack"),
]


def clew(*words: str | Path, cwd: Path) -> Result:
    return CliRunner().invoke(main, [*map(str, words)], env={"CLEW_DATA": str(cwd / "data"), "CLEW_NATS": ""})


@pytest.mark.parametrize("command", WRONG, ids=" ".join)
@pytest.mark.parametrize("content", ["# Read me\n", "{}", '{"clew":"other"}', ""])
def test_a_file_that_is_something_else_is_rejected(command: tuple[str, ...], content: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text(content)
    result = clew(*command, tmp_path / "file", cwd=tmp_path)
    assert (result.exit_code, result.stdout) == (1, ""), result.stderr


def test_a_signing_key_is_made_where_there_is_no_folder_yet(tmp_path: Path) -> None:
    made = clew("checkpoint", "keygen", cwd=tmp_path)
    assert made.exit_code == 0, made.stderr
    assert clew("checkpoint", "key", cwd=tmp_path).stdout == made.stdout
    assert stat.S_IMODE((tmp_path / "data").stat().st_mode) == 0o700
    assert clew("checkpoint", "keygen", cwd=tmp_path).exit_code == 1
