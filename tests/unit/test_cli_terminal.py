"""What commands print on a terminal: ids on one line, and a pager only for what does not fit."""

from __future__ import annotations

import contextlib
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from clew_events import ids
from clew_events.list_reply import Freshness, ListedThread, ThreadList
from clew_services.cli import main, output, terminal, thread_list

END = "\x04"


@pytest.fixture
def paged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that has what came to the pager, on a terminal of 80 columns and 10 lines."""
    pager, paged = tmp_path / "pager", tmp_path / "paged"
    pager.write_text(f"#!/bin/sh\ncat >{paged}\n")
    pager.chmod(0o755)
    for name, value in {"COLUMNS": "80", "LINES": "10", "PAGER": str(pager), "TERM": "xterm"}.items():
        monkeypatch.setenv(name, value)
    return paged


def printed(action: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> str:
    """What an action prints if standard output is a terminal."""
    master, slave = os.openpty()
    with os.fdopen(slave, "w") as stream, os.fdopen(master, "rb", buffering=0) as screen:
        monkeypatch.setattr(sys, "stdin", stream)
        with contextlib.redirect_stdout(stream):
            action()
        print(END, end="", file=stream, flush=True)
        shown = ""
        while END not in shown:
            shown += screen.read(10_000).decode()
    return re.sub(r"\x1b\[[0-9;]*m", "", shown.removesuffix(END).replace("\r", ""))


@pytest.mark.usefixtures("paged")
def test_ids_are_not_broken_over_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    known = ["thread_" + "x" * 24, "thread_" + "long" * 25]
    listed = [
        ListedThread(
            id=each, created_at=1_700_000_000, updated_at=1_700_000_000, metadata={"customer": "ada " * 20},
            tool_resources={}, version=1, message_count=2, created_by="shop", updated_by="shop",
        )
        for each in known
    ]  # fmt: skip
    for each in listed:
        page = ThreadList(
            data=(each,), first_id=each.id, last_id=each.id, has_more=False, next=None, previous=None,
            fresh=Freshness(position="0-1", at=None),
        )  # fmt: skip
        lines = printed(lambda page=page: thread_list._show(page), monkeypatch).splitlines()
        assert each.id in lines[1].split()
        assert lines[1].split().count("2023-11-14") == 2
        assert len(lines[1]) <= 80 or len(each.id) > 40
    message = ids.random_id("msg_")
    assert message in printed(lambda: output.rows(("message", "text"), [(message, "word " * 50)]), monkeypatch)


@pytest.mark.parametrize(
    ("lines", "fit"), [(["one"], True), (["x"] * 9, True), (["x"] * 10, False), (["x" * 800], False)]
)
def test_only_what_does_not_fit_on_the_terminal_is_paged(
    paged: Path, monkeypatch: pytest.MonkeyPatch, lines: list[str], fit: bool
) -> None:
    said = printed(lambda: terminal.show(iter(lines)), monkeypatch)
    assert paged.exists() != fit
    assert (said if fit else paged.read_text()).split() == lines


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("verfy", "verify"), ("histroy", "history"), ("thread lst", "list"), ("status --jsn", "--json")],
)
def test_what_was_mistyped_is_answered_with_what_may_be_meant(typed: str, meant: str) -> None:
    ran = CliRunner().invoke(main, typed.split())
    assert ran.exit_code == 2
    assert re.search(rf"Did you mean '?{meant}'?\?", ran.stderr)
