"""The command line's commands, against a whole running service."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from clew_events.subjects import Address, event_subject, shard_of
from clew_services.cli import main
from support.cli import Cli
from support.deployments import connected_client
from support.up import Up, running_up


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("up") / "data") as running:
        yield running


@pytest.fixture
def cli(up: Up) -> Cli:
    return Cli(up)


def test_a_thread_is_created_changed_shown_and_ended(cli: Cli) -> None:
    made = cli.json("thread", "create", "-m", "a=1", "-m", "b=x=y", "--message", "Hello", "--message", "Again")
    thread = made["thread"]["id"]
    assert made["thread"]["metadata"] == {"a": "1", "b": "x=y"}
    changed = cli.json("thread", "update", thread, "--set", "c=3", "--unset", "a", "--expected-version", "1")
    assert changed["n"] == 2
    cli.done("thread", "add-message", thread, "And more", "--role", "assistant")
    shown = cli.json("thread", "get", thread)
    assert shown["thread"]["metadata"] == {"b": "x=y", "c": "3"}
    listed = cli.json("thread", "messages", thread)["messages"]["data"]
    assert [each["content"][0]["text"]["value"] for each in listed] == ["Hello", "Again", "And more"]
    assert cli.json("thread", "delete", thread)["deleted"] == {
        "id": thread, "object": "thread.deleted", "deleted": True
    }  # fmt: skip
    assert "thread_not_found" in cli.refused(6, "thread", "get", thread)
    restored = cli.json("thread", "restore", thread, "--expected-version", "4", "--reason", "deleted by mistake")
    assert (restored["thread"]["id"], restored["n"]) == (thread, 5)
    assert cli.json("thread", "get", thread)["thread"] == shown["thread"]
    assert "thread_not_found" in cli.refused(6, "thread", "restore", "thread_nowhere")


def test_when_a_thread_expires_is_set_shown_and_taken_away(cli: Cli) -> None:
    thread = cli.json("thread", "create", "--expires-after", "created_at+30")["thread"]["id"]
    assert "30 days after created_at" in cli.done("thread", "get", thread)
    cli.done("thread", "update", thread, "--expires-after", "last_active_at+1")
    cli.done("thread", "update", thread, "--never-expires")
    changed = cli.done("diff", thread, "1", "2")
    assert "- expires 30 days after created_at" in changed
    assert "+ expires 1 day after last_active_at" in changed
    assert "expires never  by tester" in cli.done("blame", thread)
    assert "expires never" in cli.done("history", thread)
    assert "expire" not in cli.done("thread", "get", thread)
    for wrong in ("30", "created_at", "updated_at+30", "created_at+0", "created_at+36501", "created_at+x"):
        assert "--expires-after" in cli.refused(2, "thread", "update", thread, "--expires-after", wrong)
    both = ("--expires-after", "created_at+1", "--never-expires")
    assert "not both" in cli.refused(2, "thread", "update", thread, *both)


def test_the_beginning_of_an_id_will_do_if_no_other_begins_so(cli: Cli, tmp_path: Path) -> None:
    for thread in ("thread_north-1", "thread_north-2", "thread_northern", "thread_n"):
        cli.indexed(cli.json("thread", "create", "--id", thread))
    assert cli.json("thread", "get", "thread_n")["thread"]["id"] == "thread_n"
    cli.done("thread", "add-message", "thread_northe", "Hello")
    for words in (
        ("thread", "messages"), ("history",), ("state",), ("replay",), ("blame",), ("verify",), ("prove",), ("export",)
    ):  # fmt: skip
        more = ("--out", str(tmp_path / "pack"), "--thread") if words == ("export",) else ()
        cli.done(*words, *more, "thread_northe")
    said = cli.refused(1, "thread", "delete", "thread_north")
    assert "[ambiguous_id]" in said
    assert all(thread in said for thread in ("thread_north-1", "thread_north-2", "thread_northern"))
    cli.indexed(cli.json("thread", "delete", "thread_n"))
    for thread in ("thread_n", "thread_nowhere"):  # what was deleted is not taken for the beginning of another
        assert "thread_not_found" in cli.refused(6, "thread", "delete", thread)


def test_a_thread_comes_from_a_file_or_from_standard_input(cli: Cli, tmp_path: Path) -> None:
    body = json.dumps({"messages": [{"role": "assistant", "content": "Hi"}], "metadata": {"k": "v"}})
    (tmp_path / "thread.json").write_text(body)
    for result in (
        cli.json("thread", "create", "--file", str(tmp_path / "thread.json")),
        cli.json("thread", "create", "--file", "-", "--id", "thread_from_stdin", stdin=body),
    ):
        assert result["thread"]["metadata"] == {"k": "v"}
        messages = cli.json("thread", "messages", result["thread"]["id"])["messages"]["data"]
        assert messages[0]["role"] == "assistant"


def test_a_file_that_is_wrong_is_refused_by_the_field_s_name(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "thread.json").write_text('{"metadata": {"k": 5}}')
    told = cli.refused(1, "thread", "create", "--file", str(tmp_path / "thread.json"))
    assert "metadata" in told
    assert told.count("\n") == 1


def test_a_repeated_command_id_makes_one_thread(cli: Cli) -> None:
    first = cli.json("thread", "create", "--message", "once", "--command-id", "cmd-1")
    assert cli.json("thread", "create", "--message", "once", "--command-id", "cmd-1") == first
    assert "command_id_reused" in cli.refused(1, "thread", "create", "--message", "twice", "--command-id", "cmd-1")


def test_a_stale_version_is_a_conflict_with_a_code_of_its_own(cli: Cli) -> None:
    thread = cli.json("thread", "create")["thread"]["id"]
    cli.done("thread", "update", thread, "--set", "a=1")
    told = cli.refused(3, "thread", "update", thread, "--set", "a=2", "--expected-version", "1")
    assert told.endswith("[version_conflict]\n")
    assert told.count("\n") == 1


def test_a_history_tells_every_commit_on_a_line_and_what_it_changed(cli: Cli) -> None:
    thread = cli.json("thread", "create", "-m", "a=1", "--message", "Hello\x1b[31m there")["thread"]["id"]
    cli.done("thread", "update", thread, "--set", "b=2", "--unset", "a")
    cli.done("thread", "delete", thread)
    created, updated, deleted = cli.done("history", thread).splitlines()
    assert "tester" in created
    assert "CreateThread" in created
    assert "created a=1; + msg_" in created
    assert r"user: Hello\x1b[31m there" in created
    assert "metadata b=2 -a" in updated
    assert deleted.endswith("DeleteThread  deleted")
    entries = cli.json("history", thread)["commits"]
    assert [entry["commit"]["n"] for entry in entries] == [1, 2, 3]
    assert [entry["commit"]["prev"] for entry in entries] == [None, entries[0]["hash"], entries[1]["hash"]]
    assert created.split()[:2] == ["1", entries[0]["hash"][:12]]
    assert [e["commit"]["n"] for e in cli.json("history", thread, "--start", "3")["commits"]] == [3]


def test_a_replay_shows_a_thread_as_it_was(cli: Cli) -> None:
    thread = cli.json("thread", "create", "-m", "a=1", "--message", "Hello")["thread"]["id"]
    cli.done("thread", "update", thread, "--set", "a=2")
    cli.done("thread", "delete", thread)
    first, second, _ = cli.json("history", thread)["commits"]
    assert cli.json("replay", thread, "--at", "1")["thread"]["metadata"] == {"a": "1"}
    assert cli.json("replay", thread, "--at", first["commit"]["at"])["n"] == 1
    assert cli.json("replay", thread, "--at", second["commit"]["at"])["thread"]["metadata"] == {"a": "2"}
    assert cli.json("replay", thread)["thread"] is None
    assert "(deleted)" in cli.done("replay", thread)
    assert "moment_not_found" in cli.refused(6, "replay", thread, "--at", "9")
    assert "neither a commit number nor a time" in cli.refused(2, "replay", thread, "--at", "yesterday")


def test_a_mistyped_tenant_is_refused_at_every_door_until_it_is_added(cli: Cli, up: Up) -> None:
    assert cli.done("tenants", "list").split() == ["default"]
    for words in (("thread", "create"), ("thread", "get", "thread_a")):
        said = cli.refused(6, *words, "--tenant", "acmee")
        assert "There is no tenant 'acmee'" in said
        assert "clew tenants add acmee" in said
        assert "tenant_not_found" in said

    async def outcome_of_inbox() -> bytes:
        async with connected_client(up.nats_url) as nc:
            outcomes = await nc.subscribe("clew.outcome.acmee.x")
            await nc.request("clew.inbox.acmee.create_thread", b'{"reply_to":"clew.outcome.acmee.x"}', timeout=60)
            return (await outcomes.next_msg(timeout=60)).data

    assert b'"tenant_not_found"' in asyncio.run(outcome_of_inbox())
    assert "tenant_not_found" in cli.done("rejected", "list", "--tenant", "acmee")
    assert cli.json("tenants", "add", "spam") == {"tenant": "spam", "added": True}
    assert cli.json("tenants", "add", "spam") == {"tenant": "spam", "added": False}
    assert cli.done("tenants", "list").split() == ["default", "spam"]
    assert cli.json("tenants", "remove", "spam") == {"tenant": "spam", "removed": True}
    assert "tenant_not_found" in cli.refused(6, "tenants", "remove", "spam")
    # What has a history or a key stays, and a key brings its tenant along.
    key = cli.json("keys", "create", "--tenant", "spam", "--name", "x", "--scope", "read")["id"]
    thread = cli.json("thread", "create", "--tenant", "spam")["thread"]["id"]
    assert "has API keys" in cli.refused(1, "tenants", "remove", "spam")
    cli.done("keys", "revoke", key)
    cli.done("thread", "delete", thread, "--tenant", "spam")
    assert "has a history" in cli.refused(1, "tenants", "remove", "spam")
    assert "always exists" in cli.refused(1, "tenants", "remove", "default")
    assert "a tenant is" in cli.refused(1, "tenants", "add", "A b")


def test_tenants_do_not_see_each_other_s_threads(cli: Cli) -> None:
    for tenant in ("acme", "umbrella"):
        cli.done("tenants", "add", tenant)
    thread = cli.json("thread", "create", "--tenant", "acme")["thread"]["id"]
    cli.done("thread", "get", thread, "--tenant", "acme")
    for words in (("thread", "get"), ("history",), ("replay",)):
        assert thread in cli.refused(6, *words, thread, "--tenant", "umbrella")
    assert "a tenant is" in cli.refused(2, "thread", "get", thread, "--tenant", "a.>")


@pytest.mark.parametrize("words", [("history",), ("replay",), ("thread", "get"), ("verify",), ("prove",)])
@pytest.mark.parametrize("thread", ["1234", "thread_a.b", "thread_*", "thread_>", "thread_a b", "thread_" + "x" * 200])
def test_what_cannot_be_a_thread_is_not_even_asked_for(cli: Cli, words: tuple[str, ...], thread: str) -> None:
    assert "a thread id is 'thread' or 'conv_'" in cli.refused(2, *words, thread)


def test_a_status_counts_what_is_there(cli: Cli) -> None:
    before = cli.json("status")
    thread = cli.json("thread", "create")["thread"]["id"]
    cli.done("thread", "update", thread, "--set", "a=1")
    after = cli.json("status")
    assert after["threads"] == before["threads"] + 1
    assert after["commits"] == before["commits"] + 2
    assert [shard["stream"] for shard in after["shards"]] == ["CLEW_EVT_00", "CLEW_EVT_01"]
    assert after["nats_server"].startswith("2.")
    assert "parked threads" in cli.done("status")


def test_a_deployment_is_initialised_once(cli: Cli) -> None:
    assert cli.json("init", "--shards", "2") == {"created": []}
    assert "cannot be changed to 3" in cli.refused(1, "init", "--shards", "3")


@pytest.mark.parametrize("name", ["commands", "queries", "replies", "events", "view", "asyncapi", "openapi"])
def test_the_contract_is_printed_by_name_and_whole(cli: Cli, name: str) -> None:
    document = json.loads(cli.done("schema", name))
    assert document
    assert json.loads(cli.done("schema"))[name] == document


def test_a_history_that_was_altered_is_named_and_the_exit_code_says_so(tmp_path: Path) -> None:
    with running_up(tmp_path / "data", env={"CLEW_CHECKPOINTS": "0"}) as up:
        cli = Cli(up)
        whole, altered = (cli.json("thread", "create")["thread"]["id"] for _ in range(2))
        checked = {"threads": 2, "commits": 2, "checkpoints": 0, "tenant": None, "covered": 0, "checkpoint": None}
        checked["findings"] = []
        assert cli.json("verify", "--all") == checked
        subject = event_subject(shard_of(altered, 2), Address("default", altered))

        async def forge() -> None:
            async with connected_client(up.nats_url) as client:
                await client.jetstream().publish(subject, b'{"v":1,"events":[{"type":"Forged"}]}')

        asyncio.run(forge())
        found = cli("verify", "--json")
        assert found.exit_code == 5
        (finding,) = json.loads(found.stdout)["findings"]
        assert finding["thread"] == altered
        assert "1 finding" in cli("verify", altered).stdout
        assert "every chain is intact" in cli.done("verify", whole)
        assert "2 threads" in cli("verify", "--all").stdout
        assert "consistent with the log" in cli.done("prove", whole)
        for command in ("verify", "prove"):
            assert "tenant 'nobody' has no threads" in cli.refused(6, command, "--tenant", "nobody")


@pytest.mark.parametrize(
    ("nats", "words"), [("nats://127.0.0.1:1", ("status",)), ("embedded:1", ("thread", "get", "thread_x"))]
)
def test_where_no_server_is_one_line_says_so_and_how_to_name_one(
    tmp_path: Path, nats: str, words: tuple[str, ...]
) -> None:
    result = CliRunner().invoke(main, words, env={"CLEW_NATS": nats, "CLEW_DATA": str(tmp_path)})
    assert result.exit_code == 4
    assert result.stderr.startswith("clew: no NATS server")
    assert result.stderr.count("\n") == 1
    hint = f"{tmp_path}/nats-url does not have it: name that folder with --data or CLEW_DATA"
    assert (hint in result.stderr) == (nats == "embedded:1")


def test_a_setting_that_makes_no_sense_is_wrong_usage(cli: Cli) -> None:
    assert "--nats (CLEW_NATS) is 'foo'" in cli.refused(2, "status", "--nats", "foo")
    assert "CLEW_SHARDS" in cli.refused(2, "init", "--shards", "many")
    assert "API key 1 (CLEW_API_KEYS)" in cli.refused(2, "serve", "api", "--api-keys", "nonsense")
    assert "API key 1 (CLEW_API_KEYS)" in cli.refused(2, "up", "--api-keys", "nonsense")


def test_every_command_has_help_and_the_list_of_them_is_whole() -> None:
    listed = CliRunner().invoke(main, ["--help"]).output
    for name in main.list_commands(None):
        assert f"\n  {name} " in listed
        shown = CliRunner().invoke(main, [name, "--help"])
        assert shown.exit_code == 0
        assert len(shown.output.splitlines()) > 5
    assert "nats-server 2." in CliRunner().invoke(main, ["--version"]).output
