"""``clew erase`` and ``clew erasures``, against a whole running service."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from clew_projections.history.pending_erasures import PendingErasures
from clew_services import compose
from clew_services.checkpoints.note import SigningKey
from clew_services.cli import main
from clew_services.erasure.records import ErasureRecords
from support.cli import Cli
from support.freezing import frozen
from support.up import Up, running_up

MESSAGE = "msg_000001" + "a" * 18


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("up") / "data") as running:
        yield running


@pytest.fixture
def cli(up: Up, request: pytest.FixtureRequest) -> Cli:
    """For a tenant of its own."""
    made = Cli(up, actor="dpo", CLEW_TENANT=f"t{abs(hash(request.node.name))}"[:30])
    assert CliRunner().invoke(main, ["tenants", "add", made.env["CLEW_TENANT"]], env=made.env).exit_code == 0
    return made


def create(cli: Cli, *arguments: str) -> str:
    return cli.create("--message", "a text to be erased", *arguments)


def erasures(cli: Cli) -> list[dict]:
    return cli.json("erasures", "list")["erasures"]


def test_a_thread_is_erased_and_what_it_prints_is_certified(cli: Cli) -> None:
    thread = create(cli, "-m", "customer=c-81")
    done = cli.json("erase", thread, "--yes", "--reason", "asked_by_customer")
    (erasure,) = done["erasures"]
    assert done["refused"] == []
    assert (erasure["thread_id"], erasure["status"], erasure["code"]) == (thread, "completed", "asked_by_customer")
    assert erasure["actor"] == "dpo"
    assert "thread_not_found" in cli.refused(6, "thread", "get", thread)

    shown = cli.done("erasures", "show", erasure["id"])
    for text in (
        erasure["id"],
        "completed",
        "asked_by_customer",
        "dpo",
        "contents overwritten, or removed with their blocks, in the log",
        "backups",
    ):
        assert text in shown
    note = cli.done("erasures", "show", erasure["id"], "--certificate")
    assert json.loads(note.partition("\n")[0])["thread"] == thread
    assert note == cli.json("erasures", "show", erasure["id"])["signed"]["note"]


def test_what_was_erased_is_counted_by_the_status_and_named_where_a_proof_is_checked(
    up: Up, cli: Cli, tmp_path: Path
) -> None:
    before = cli.json("status")["commits"]
    thread = create(cli, "-m", "customer=c-81")
    (erasure,) = cli.json("erase", thread, "--yes")["erasures"]
    assert cli.json("status")["commits"] == before + 3
    assert cli.done("checkpoint", "make", "--data", str(up.data), "--nats", up.nats_url)
    proof, key = str(tmp_path / "proof.json"), cli.done("checkpoint", "key", "--data", str(up.data)).strip()
    cli.done("checkpoint", "proof", thread, "--with-commits", "--out", proof)
    checked = cli.done("checkpoint", "check", proof, "--key", key)
    assert f"erased by {erasure['id']}, and certified at " in checked
    assert ": 2 contents of 1 commit\n" in checked
    assert "not verified" not in checked
    (certificate,) = cli.json("checkpoint", "check", proof)["certificates"]
    assert (certificate["erasure"], certificate["thread"]) == (erasure["id"], thread)
    assert "nor those of certificates: give --key" in cli.done("checkpoint", "check", proof)


def test_several_threads_and_beginnings_of_ids_are_erased_at_once(cli: Cli) -> None:
    threads = [create(cli) for _ in range(3)]
    shortened = [threads[0], threads[1][:20], threads[0]]
    assert {each["thread_id"] for each in cli.json("erase", *shortened, "--yes")["erasures"]} == set(threads[:2])
    table = cli.done("erasures", "list", "--status", "completed")
    assert all((thread in table) == (thread != threads[2]) for thread in threads)
    assert "several threads" in cli.refused(1, "erase", create(cli)[:7], "--yes")
    conversation = create(cli, "--id", f"conv_{'5a' * 24}")
    assert cli.json("erase", conversation[:40], "--dry-run")["threads"] == [conversation]


def test_a_message_is_erased_and_its_thread_lives_on(cli: Cli) -> None:
    thread = create(cli)
    message = cli.json("thread", "messages", thread)["messages"]["data"][0]["id"]
    assert "Erase message for good?" in cli.refused(1, "erase", thread, "--message", message, stdin="n\n")
    table = cli.done("erase", thread, "--message", message, stdin="y\n")
    assert message in table
    assert "completed" in table
    assert cli.json("thread", "messages", thread)["messages"]["data"] == []
    said = cli.refused(1, "erase", thread, "--message", message, "--yes")
    assert f"message {message} of thread {thread} was erased at 2" in said
    assert "has the certificate [already_erased]" in said


def test_all_threads_of_a_person_are_found_by_a_filter_and_erased(tmp_path: Path) -> None:
    # A server of its own: after an erasure the index is another file, which may be behind for a moment.
    with running_up(tmp_path / "data") as up:
        erase_a_person(Cli(up, actor="dpo"))


def erase_a_person(cli: Cli) -> None:
    theirs = {create(cli, "-m", "customer=c-81", "-m", f"n={number}") for number in range(3)}
    other = create(cli, "-m", "customer=c-82")
    where = json.dumps({"metadata": {"key": "customer", "eq": "c-81"}})
    assert set(cli.json("erase", "--where", where, "--dry-run")["threads"]) == theirs
    assert set(cli.done("erase", "-m", "customer=c-81", "--dry-run").split()) == theirs
    assert erasures(cli) == []
    asked = cli("erase", "--where", where, stdin="n\n")
    assert (asked.exit_code, asked.stdout) == (1, "")
    assert "Erase 3 threads for good? This cannot be undone." in asked.stderr
    assert erasures(cli) == []
    done = cli.json("erase", "--where", where, "--yes")
    assert (done["refused"], done["left"]) == ([], [])
    assert {each["thread_id"] for each in done["erasures"]} == theirs
    assert {each["status"] for each in done["erasures"]} == {"completed"}
    assert cli.done("thread", "get", other)
    assert {each["thread_id"] for each in erasures(cli)} == theirs
    nobody = json.dumps({"metadata": {"key": "customer", "eq": "nobody"}})
    assert cli.done("erase", "--where", nobody, "--yes") == "there is nothing to erase\n"


def test_without_waiting_it_returns_when_the_erasure_is_requested(cli: Cli) -> None:
    thread = create(cli)
    (erasure,) = cli.json("erase", thread, "--yes", "--no-wait")["erasures"]
    assert erasure["status"] in {"requested", "erased", "completed"}
    assert erasure["n"] == 2


def test_what_is_half_erased_is_told_with_how_far_it_is(cli: Cli, up: Up) -> None:
    thread = create(cli)
    with frozen(up.pid_of("erasure")):  # nobody goes on with it
        tell_how_far(cli, up, thread)


def tell_how_far(cli: Cli, up: Up, thread: str) -> None:
    (erasure,) = cli.json("erase", thread, "--yes", "--no-wait")["erasures"]

    def record(**changes: object) -> None:
        asyncio.run(_write(up, cli.env["CLEW_TENANT"], erasure["id"], changes))

    record(status="erased", fault="an index of another machine is not clean yet")
    said = cli.refused(1, "erase", thread, "--yes")
    assert f"thread {thread} is being erased since 2" in said
    assert f"'clew erasures show {erasure['id']}' says how far that is [already_erased]" in said
    assert "an index of another machine" in cli("erasures", "list").stderr
    assert "has no certificate yet" in cli.refused(6, "erasures", "show", erasure["id"], "--certificate")
    record(status="failed", fault="commit 1 cannot be read")
    said = cli.refused(1, "erase", thread, "--yes")
    assert "is to be erased, and that failed: commit 1 cannot be read." in said


async def _write(up: Up, tenant: str, erasure: str, changes: dict[str, object]) -> None:
    from msgspec.structs import replace

    async with compose.connection(up.nats_url, name="test") as connection:
        records = ErasureRecords(connection.js, PendingErasures(connection.js))
        written = None
        while written is None:
            found = await records.find(tenant, erasure)
            assert found is not None
            written = await records.write(tenant, replace(found.erasure, **changes), found.revision)


def test_a_certificate_names_the_backups_and_packs_that_have_what_was_erased(cli: Cli, tmp_path: Path) -> None:
    threads = [cli.create() for _ in range(2)]
    backup, pack = tmp_path / "backup", tmp_path / "pack"
    cli.done("backup", "--out", str(backup))
    cli.done("export", "--thread", threads[0], "--out", str(pack))

    def named(thread: str) -> list[str]:
        (erasure,) = cli.json("erase", thread, "--yes")["erasures"]
        remains = cli.json("erasures", "show", erasure["id"])["signed"]["says"]["remains"]
        return [each.rpartition("/")[2] for each in remains if str(tmp_path) in each]

    assert named(threads[0]) == ["pack, unless it was deleted", "backup, unless it was deleted"]
    cli.done("backup", "erase", str(backup))
    assert named(threads[1]) == ["backup, unless it was deleted"]
    assert named(cli.create()) == []


def test_what_cannot_be_erased_is_refused_with_the_reason(cli: Cli) -> None:
    thread = create(cli)
    unknown = "thread_" + "z" * 24
    assert f"No thread found with id '{unknown}'." in cli.refused(6, "erase", unknown, "--yes")
    assert "No message found" in cli.refused(6, "erase", thread, "--message", MESSAGE, "--yes")
    assert "Expected a code of" in cli.refused(1, "erase", thread, "--reason", "by mail from Ada", "--yes")
    assert "No erasure found" in cli.refused(6, "erasures", "show", "erasure_" + "z" * 24)
    assert "erasure_" in cli.refused(1, "erasures", "show", "x")
    assert "no erasure of thread" in cli.refused(6, "erasures", "list", "--thread", thread)
    for arguments, words in (
        ((), "either THREADs or a filter"),
        ((thread, "--where", "{}"), "either THREADs or a filter"),
        (("--message", MESSAGE, "--where", "{}"), "--message takes the one THREAD"),
        ((thread, thread + "x", "--message", MESSAGE), "--message takes the one THREAD"),
        ((thread, "--message", "msg 1"), "an item id is"),
        (("x",), "a thread id is 'thread' or 'conv_'"),
    ):
        assert words in cli.refused(2, "erase", *arguments, "--yes")
    for where in ("{", "[]", '{"metadata": {"eq": 7}}', '{"wher": {}}'):
        assert cli.refused(1, "erase", "--where", where, "--yes").startswith("clew: ")
    assert erasures(cli) == []


def test_one_refusal_among_several_stops_no_other(cli: Cli) -> None:
    threads = [create(cli), "thread_" + "z" * 24, create(cli)]
    result = cli("erase", *threads, "--yes", "--json")
    assert result.exit_code == 6
    done = json.loads(result.stdout)
    assert {each["thread_id"] for each in done["erasures"]} == {threads[0], threads[2]}
    assert [(each["thread_id"], each["code"]) for each in done["refused"]] == [(threads[1], "thread_not_found")]


def test_the_erasures_of_all_tenants_go_into_a_file_that_can_be_checked(cli: Cli, up: Up, tmp_path: Path) -> None:
    thread, file, key = create(cli), tmp_path / "erasures.jsonl", tmp_path / "clew.pub"
    (erasure,) = cli.json("erase", thread, "--yes")["erasures"]
    assert cli.json("erasures", "export", str(file))["erasures"] >= 1
    assert "exists already" in cli.refused(1, "erasures", "export", str(file))
    assert b"a text to be erased" not in file.read_bytes()
    listed = "erasures", "list", "--file", str(file)
    assert cli.json(*listed)["erasures"] == erasures(cli)
    assert [each["id"] for each in erasures(cli)] == [erasure["id"]]
    assert cli.json(*listed, "--status", "requested")["erasures"] == []
    assert cli.json(*listed, "--tenant", "nobody")["erasures"] == []
    key.write_text(f"{SigningKey.new().verifier}\n")
    assert "this was signed with key" in cli.refused(5, *listed, "--key", str(key))
    assert "--key goes with --file" in cli.refused(2, "erasures", "list", "--key", str(key))
    file.write_bytes(file.read_bytes()[:-2])
    assert "was cut off" in cli.refused(5, *listed)
