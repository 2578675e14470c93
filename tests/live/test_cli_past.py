"""What the command line tells of a thread's past, to people and to programs."""

from __future__ import annotations

import json
import select
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from clew_services.cli import commit_lines
from support.cli import Cli
from support.up import Up, environment, running_up

EVIL = "Hi\x1b[31m"


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("past") / "data") as running:
        yield running


@pytest.fixture(scope="module")
def cli(up: Up) -> Cli:
    return Cli(up)


@pytest.fixture(scope="module")
def thread(cli: Cli) -> str:
    """A thread of five commits, by two actors."""
    thread = cli.json("thread", "create", "-m", "plan=free", "--message", EVIL)["thread"]["id"]
    cli.lines("thread", "update", thread, "--set", "plan=paid", "--set", f"note={EVIL}", "--actor", "sales")
    cli.lines("thread", "update", thread, "--unset", "note", "--actor", "bot")
    cli.lines("thread", "add-message", thread, "second")
    cli.lines("thread", "delete", thread)
    return thread


def numbers(lines: list[str]) -> list[int]:
    return [int(line.split()[0]) for line in lines]


def test_a_history_is_chosen_from_and_turned_round(cli: Cli, thread: str) -> None:
    assert numbers(cli.lines("history", thread)) == [1, 2, 3, 4, 5]
    assert numbers(cli.lines("history", thread, "--reverse", "-n", "2")) == [5, 4]
    assert numbers(cli.lines("history", thread, "--actor", "sales")) == [2]
    assert numbers(cli.lines("history", thread, "--actor", "*", "--type", "ItemAdded")) == [1, 4]
    at = cli.json("history", thread)["commits"][2]["commit"]["at"]
    assert numbers(cli.lines("history", thread, "--since", at)) == [3, 4, 5]
    assert numbers(cli.lines("history", thread, "--until", at)) == [1, 2, 3]
    assert cli.lines("history", thread, "--since", "3000-01-01") == []
    assert "not a time" in cli.refused(2, "history", thread, "--since", "soon")
    assert "ItemAdded" in cli.refused(2, "history", thread, "--type", "Nothing")


def test_a_patch_shows_what_was_before_and_after(cli: Cli, thread: str) -> None:
    lines = [line.strip() for line in cli.lines("history", thread, "-p", "--start", "2")]
    assert lines[1:4] == ["- metadata plan=free", "+ metadata plan=paid", r"+ metadata note=Hi\x1b[31m"]
    assert r"- metadata note=Hi\x1b[31m" in lines
    assert any(line.startswith("+ msg_") and line.endswith("user: second") for line in lines)
    assert "thread: open -> deleted" in lines
    newest = [line.strip() for line in cli.lines("history", thread, "-p", "--reverse", "-n", "1")]
    assert newest[1:] == ["thread: open -> deleted", ""]


def test_a_state_is_the_thread_with_its_messages_then(cli: Cli, thread: str) -> None:
    then = cli.json("state", thread, "--as-of", "2")
    assert then["then"]["thread"]["metadata"] == {"plan": "paid", "note": EVIL}
    assert len(then["messages"]) == 1
    shown = "\n".join(cli.lines("state", thread, "--as-of", "4"))
    assert "second" in shown
    assert r"Hi\x1b[31m" in shown
    assert "(deleted)" in "\n".join(cli.lines("state", thread, "--as-of", "5"))
    assert "thread_not_found" in cli.refused(6, "state", thread)
    assert "5 commits" in cli.refused(1, "state", thread, "--as-of", "6")
    assert "neither" in cli.refused(2, "state", thread, "--as-of", "0")


def test_no_stored_text_reaches_the_terminal_as_it_is_neither_keys_nor_json(cli: Cli) -> None:
    controls = "\x1b[31m\x07\x7f\x85\x9b2J\u2028\u202e"
    key, value = f"k{controls}", f"v{controls}"
    created = cli("thread", "create", "-m", f"{key}={value}", "--message", value, "--json")
    thread = json.loads(created.stdout)["thread"]["id"]
    shown = [created.stdout]
    for command in ("thread get", "thread messages", "state", "replay", "history", "history -p", "blame", "diff 0"):
        name, *options = command.split(" ")
        words = (name, thread, *options) if name != "thread" else (name, *options, thread)
        shown += [cli(*words).stdout, cli(*words, "--json").stdout]
    shown += [cli("thread", "update", thread, "--set", f"{key}=w").stdout]
    for output in shown:
        assert thread in output or output.startswith("{") or "user" in output
        assert {c for c in output if not c.isprintable()} == {"\n"}, output
    assert cli.json("thread", "get", thread)["thread"]["metadata"] == {key: "w"}


def test_where_only_the_tenant_is_wrong_every_command_names_the_right_one(
    cli: Cli, thread: str, tmp_path: Path
) -> None:
    pack = str(tmp_path / "pack")
    cli.lines("export", "--thread", thread, "--out", pack)
    for command in ("history", "blame", "state", "diff 0", "replay"):
        name, *options = command.split(" ")
        for where in ((), ("--pack", pack)):
            refusal = cli.refused(6, name, thread, *options, "--tenant", "acme", *where)
            assert "Tenant 'default' has a thread with this id" in refusal, (command, where)
            assert "--tenant" not in cli.refused(6, name, "thread_none", *options, "--tenant", "acme", *where)
    again = cli.refused(6, "export", "--thread", thread, "--tenant", "acme", "--out", str(tmp_path / "none"))
    assert "Tenant 'default' has a thread with this id" in again
    assert "Tenant 'default' has one" in cli.refused(6, "verify", thread, "--tenant", "acme")


def test_a_check_says_whose_threads_it_covers_and_refuses_a_tenant_beside_all(cli: Cli, thread: str) -> None:
    for command in ("prove", "verify"):
        assert cli.lines(command)[-1].startswith("tenant default: ")
        assert cli.lines(command, "--all")[-1].startswith("all tenants: ")
        assert cli.lines(command, thread)[-1].startswith("1 thread, ")
        assert (cli.json(command)["tenant"], cli.json(command, "--all")["tenant"]) == ("default", None)
        assert "omit --tenant" in cli.refused(2, command, "--all", "--tenant", "nosuch")
    assert "omit --tenant" in cli.refused(2, "export", "--all", "--tenant", "nosuch", "--out", "none")
    assert cli.json("replay", thread, "--at", "1")["at"].endswith("Z")
    assert cli.lines("replay", thread, "--at", "1")[-1].endswith("Z")


def test_a_difference_is_shown_with_who_made_it(cli: Cli, thread: str) -> None:
    lines = cli.lines("diff", thread, "1", "3")
    assert lines[0] == f"{thread} from commit 1 to 3"
    assert ["sales" in lines[1], "bot" in lines[2]] == [True, True]
    assert [line.strip() for line in lines[3:]] == ["- metadata plan=free", "+ metadata plan=paid"]
    whole = cli.json("diff", thread, "0")
    assert (whole["from"]["n"], whole["to"]["n"], len(whole["commits"])) == (0, 5, 5)
    assert "behind 'to'" in cli.refused(1, "diff", thread, "3", "1")


def test_blame_answers_who_removed_a_key(cli: Cli, thread: str) -> None:
    lines = cli.lines("blame", thread)
    (removed,) = [line for line in lines if "removed by" in line]
    assert removed.startswith(r"metadata -note=Hi\x1b[31m  removed by bot")
    assert any(line.startswith("metadata plan=paid  by sales") for line in lines)
    assert any("deleted by tester" in line for line in lines)
    earlier = cli.json("blame", thread, "--as-of", "1")
    assert [key["key"] for key in earlier["metadata"]] == ["plan"]
    assert "thread_nobody" in cli.refused(6, "blame", "thread_nobody")


def test_an_item_that_was_replaced_is_told_by_every_command_about_the_past(cli: Cli, tmp_path: Path) -> None:
    def call(eur: int) -> str:
        return f'{{"type":"function_call","id":"fc_1","arguments":"{{\\"eur\\":{eur}}}","note":"\\u009b"}}'

    thread = cli.json("thread", "create", "--id", "conv_past", "--message", "Pay")["thread"]["id"]
    cli.done("item", "add", thread, stdin=call(10))
    cli.done("item", "replace", thread, "fc_1", "--actor", "mallory", stdin=call(9999))
    cli.done("export", "--thread", thread, "--out", str(pack := tmp_path / "pack"))
    before, after = call(10), call(9999)
    for where in ((), ("--pack", str(pack))):
        blamed = cli.lines("blame", thread, *where)
        assert any(line.startswith("fc_1  replaced by mallory, ") for line in blamed)
        assert any(line.startswith("fc_1  added by tester, ") for line in blamed)
        (told,) = [item for item in cli.json("blame", thread, *where)["messages"] if item["id"] == "fc_1"]
        assert [told[what] and told[what]["n"] for what in ("added", "replaced", "changed", "deleted")] == [
            2,
            3,
            3,
            None,
        ]
        for lines in (
            cli.lines("diff", thread, "2", *where),
            cli.lines("history", thread, "-p", "--start", "3", *where),
        ):
            assert [line.strip() for line in lines if "eur" in line] == [f"- fc_1 {before}", f"+ fc_1 {after}"]
        shown = cli.lines("state", thread, "--as-of", "2", *where)
        assert [line.split() for line in shown if line.startswith("items")] == [["items", "2"]]
        assert [" ".join(line.split()[3:]) for line in shown[-2:]] == ["user Pay", f"function_call {before}"]
        assert after in cli.lines("state", thread, *where)[-1]
        whole = cli.json("state", thread, "--as-of", "2", *where)
        assert [len(whole[what]) for what in ("messages", "items")] == [1, 2]
        assert whole["items"][1] == json.loads(before)
        assert ["items", "2"] in [line.split() for line in cli.lines("replay", thread, *where)]
    assert cli.lines("item", "get", thread, "fc_1", "--as-of", "2") == [before]
    assert cli.lines("item", "list", thread, "--as-of", "2", "--order", "desc", "--limit", "1")[0] == before
    assert cli.json("item", "list", thread, "--as-of", "1")["items"]["data"][0]["role"] == "user"
    assert "there are more: --after fc_1" in cli("item", "list", thread, "--order", "desc", "--limit", "1").stderr


def test_following_shows_commits_as_they_happen(cli: Cli, up: Up, tmp_path: Path) -> None:
    command = [sys.executable, "-u", "-m", "clew_services.cli", "replay", "--follow", "--json", "--tenant", "live"]
    env = {**environment(), "CLEW_NATS": up.nats_url}
    cli.json("tenants", "add", "live")
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True) as following:
        try:
            assert following.stdout is not None
            # It begins when it begins: whatever is made from then on is shown, in order and once.
            made: list[str] = []
            shown = ""
            while not shown:
                made.append(cli.json("thread", "create", "--tenant", "live")["thread"]["id"])
                shown = _line_within(following, 1.0)
            first = made.index(json.loads(shown)["commit"]["thread"])
            made += [cli.json("thread", "create", "--tenant", "live")["thread"]["id"] for _ in range(3)]
            rest = [json.loads(following.stdout.readline())["commit"]["thread"] for _ in made[first + 1 :]]
            assert rest == made[first + 1 :]
        finally:
            following.kill()
    seen = json.loads(shown)["id"]
    with subprocess.Popen([*command, "--after", seen], env=env, stdout=subprocess.PIPE, text=True) as again:
        try:
            assert again.stdout is not None
            assert [json.loads(again.stdout.readline())["commit"]["thread"] for _ in rest] == rest
        finally:
            again.kill()
    assert "--at" in cli.refused(2, "replay", "--follow", "--at", "1")
    assert "--follow" in cli.refused(2, "replay", "--after", seen)
    assert "THREAD" in cli.refused(2, "replay")


def _line_within(process: subprocess.Popen[str], seconds: float) -> str:
    assert process.stdout is not None
    ready, _, _ = select.select([process.stdout], [], [], seconds)
    return process.stdout.readline() if ready else ""


def test_how_long_ago_is_said_in_one_number() -> None:
    now = datetime(2026, 11, 22, 22, tzinfo=UTC)
    said = {
        timedelta(seconds=5): "5 s ago",
        timedelta(minutes=3): "3 min ago",
        timedelta(hours=23, minutes=59): "23 h ago",
        timedelta(days=59): "59 days ago",
        timedelta(days=61): "2026-09-22",
        timedelta(seconds=-1): "2026-11-22 22:00:01.000Z",
    }
    assert {passed: commit_lines.ago(now - passed, now) for passed in said} == said
