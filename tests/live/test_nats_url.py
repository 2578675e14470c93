"""The password of ``clew up``'s NATS server: where it is kept, and how Clew's own commands find it."""

from __future__ import annotations

import asyncio
import contextlib
import re
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cli import clew
from support.deployments import write_data
from support.up import Up, running_up


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("up") / "clew-data") as running:
        yield running


def test_the_url_with_the_password_is_in_a_file_that_only_its_user_reads(up: Up) -> None:
    kept = up.data / "nats-url"
    assert up.open_url == re.sub("//.*@", "//", up.nats_url)
    assert re.fullmatch(r"nats://clew:[A-Za-z0-9]{40}@127\.0\.0\.1:\d+\n", kept.read_text())
    for each in (kept, up.data / "nats.conf"):
        assert stat.S_IMODE(each.stat().st_mode) == 0o600
    assert up.told().startswith("api key ")
    assert up.told() == f"nats url    with the password for streams and buckets, kept in {kept}\n"


def test_commands_find_the_server_and_its_password_in_the_folder(up: Up, tmp_path: Path) -> None:
    port = up.open_url.rpartition(":")[2]
    for words, cwd in (
        (("verify", "--all"), up.data.parent),
        (("verify", "--all", "--data", str(up.data)), tmp_path),
        (("status", "--data", str(up.data), "--nats", f"embedded:{port}"), tmp_path),
        (("thread", "list", "--data", str(up.data)), tmp_path),
        (("init", "--shards", "2"), up.data.parent),
    ):
        with contextlib.chdir(cwd):
            ran = clew(*words)
        assert ran.returncode == 0, ran.stderr
    elsewhere = clew("verify", "--all", "--nats", up.open_url)
    assert elsewhere.returncode != 0
    assert "may not publish to $JS.API.STREAM.INFO.CLEW_EVT_00. 'clew up' keeps a URL" in elsewhere.stderr


def test_the_password_stays_from_one_start_to_the_next_and_backups_come_and_go(tmp_path: Path) -> None:
    data, backup, other = tmp_path / "data", tmp_path / "backup", tmp_path / "other"
    asyncio.run(write_data(data, "thread_kept"))
    before = (data / "nats-url").read_text().strip()
    ran = clew("backup", "--from", str(data), "--out", str(backup))
    assert ran.returncode == 0, ran.stderr
    ran = clew("restore", str(backup), "--into", str(other))
    assert ran.returncode == 0, ran.stderr
    with running_up(other), running_up(data) as second:
        password = re.search("clew:(.*)@", before)
        assert password is not None
        assert f"clew:{password[1]}@" in second.nats_url
        assert before != second.nats_url  # on another port
        for folder in (other, data):
            shown = clew("thread", "get", "thread_kept", "--data", str(folder))
            assert shown.returncode == 0, shown.stderr
