"""The guide to personal data, carried out from top to bottom for a person with threads in three states."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cli import Cli, Shell, commands_in, programs_in
from support.up import Up, running_up
from support.waiting import wait_until

COMMANDS = commands_in("docs/personal-data.md")
(PROGRAM,) = programs_in("docs/personal-data.md")
THEIRS = ("-m", "customer=c-81")


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("personal") / "data") as running:
        yield running


def test_the_guide_runs_from_top_to_bottom(up: Up, tmp_path: Path) -> None:
    cli = Cli(up)
    for thread, *options in (
        ("thread_open", *THEIRS),
        ("thread_deleted", *THEIRS),
        ("thread_mistaken", "-m", "customer=c-83"),
        ("thread_idle",),
        ("thread_other", "-m", "customer=c-82", "--message", "Ada Lovelace asked whether you saw her parcel."),
    ):
        cli.create("--id", thread, *options)
    message = cli.json("thread", "messages", "thread_other")["messages"]["first_id"]
    cli.done("thread", "delete", "thread_mistaken")
    cli.indexed(cli.json("thread", "delete", "thread_deleted"))

    (tmp_path / "find.py").write_text(PROGRAM.replace("nats://127.0.0.1:4222", up.open_url))
    shell = Shell(up, tmp_path, MESSAGE=message)
    found = shell(f"{sys.executable} -W error find.py")
    assert (found.stdout.split(), found.stderr) == (["thread_deleted", "thread_open"], "")

    for line in COMMANDS:
        if line.endswith("hold release case-7 --all"):  # it looks in the index, and nobody waits for that here
            wait_until(lambda: "thread_mistaken" in shell.done("clew hold list case-7"))
        told = shell.done(line)
        if line == "clew erasures list":
            for what in ("thread_open", "thread_deleted", "thread_other", message):
                assert what in told
            (shell.words["ERASURE"],) = re.findall(r"erasure_\w{24}(?= +thread_open)", told)
    assert json.loads((tmp_path / "certificate.txt").read_text().partition("\n")[0])["thread"] == "thread_open"
    for thread in ("thread_open", "thread_deleted"):
        cli.refused(6, "thread", "get", thread)
    for thread in ("thread_other", "thread_mistaken"):
        cli.done("thread", "get", thread)
