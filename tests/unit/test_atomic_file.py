"""Files that are replaced in one step."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from clew_projections.atomic_file import replace_durably, write_atomically


@pytest.mark.parametrize("durable", [False, True])
def test_a_file_is_replaced_as_a_whole_and_only_its_user_can_read_it(tmp_path: Path, durable: bool) -> None:
    file = tmp_path / "key"
    for content in (b"a long first content", b"second", b""):
        write_atomically(file, content, durable=durable)
        assert file.read_bytes() == content
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]


@pytest.mark.parametrize("durable", [False, True])
def test_where_a_file_cannot_be_replaced_what_was_there_stands_and_no_draft_is_left(
    tmp_path: Path, durable: bool
) -> None:
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "something").touch()
    with pytest.raises(OSError, match="taken"):
        write_atomically(taken, b"new", durable=durable)
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "missing" / "file", b"new", durable=durable)
    assert [each.name for each in tmp_path.rglob("*")] == ["taken", "something"]


def test_who_has_a_file_open_keeps_reading_the_old_content(tmp_path: Path) -> None:
    file, draft = tmp_path / "pack", tmp_path / "pack.part"
    file.write_bytes(b"old")
    with file.open("rb") as reader:
        draft.write_bytes(b"new")
        replace_durably(draft, file)
        assert (reader.read(), file.read_bytes(), draft.exists()) == (b"old", b"new", False)
