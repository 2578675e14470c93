"""Which server a command means, and which password the embedded one has."""

from __future__ import annotations

from pathlib import Path

import pytest

from clew_services.host import CannotStart, nats_url

URL = "nats://clew:secret1@127.0.0.1:4333"


@pytest.mark.parametrize("nats", ["embedded", "embedded:4333", "embedded:0"])
def test_the_folders_server_is_reached_with_its_password(tmp_path: Path, nats: str) -> None:
    nats_url.write(tmp_path, URL)
    assert nats_url.find(tmp_path, nats) == URL


@pytest.mark.parametrize("nats", ["embedded:4222", "nats://127.0.0.1:4333", "nats://other:4222", "nonsense", ""])
def test_another_server_is_not_sent_the_password(tmp_path: Path, nats: str) -> None:
    nats_url.write(tmp_path, URL)
    assert nats_url.find(tmp_path, nats) == nats


@pytest.mark.parametrize("kept", [b"", b"\xff\xfe", b"nats://[", b"nats://127.0.0.1", b"a:b:c:d"])
def test_a_file_that_holds_no_url_is_passed_over_and_a_new_password_made(tmp_path: Path, kept: bytes) -> None:
    (tmp_path / nats_url.FILE).write_bytes(kept)
    assert nats_url.find(tmp_path, "embedded") == "embedded"
    assert len(nats_url.password(tmp_path)) == 40


def test_a_folder_without_the_file_says_nothing(tmp_path: Path) -> None:
    assert nats_url.find(tmp_path / "nowhere", "embedded") == "embedded"
    assert nats_url.password(tmp_path / "nowhere") != nats_url.password(tmp_path / "nowhere")


def test_the_password_is_kept(tmp_path: Path) -> None:
    nats_url.write(tmp_path, URL)
    assert nats_url.password(tmp_path) == "secret1"


def test_a_password_that_would_not_stand_in_the_configuration_is_replaced(tmp_path: Path) -> None:
    nats_url.write(tmp_path, 'nats://clew:a"}b@127.0.0.1:4333')
    assert nats_url.password(tmp_path).isalnum()


def test_a_file_that_cannot_be_read_or_written_is_named(tmp_path: Path) -> None:
    (tmp_path / nats_url.FILE).mkdir()
    with pytest.raises(CannotStart, match=r"cannot read .*nats-url"):
        nats_url.password(tmp_path)
    with pytest.raises(CannotStart, match=r"cannot write .*nats-url"):
        nats_url.write(tmp_path, URL)
