"""Threads from elsewhere in a real log: each whole, once, and with the times of its original."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec import Raw
from msgspec.structs import replace

from clew_events.commands import AddItems, CreateThread, DeleteThread, UpdateThread
from clew_events.content import Provenance
from clew_events.errors import Invalid, NotFound, Unavailable
from clew_events.events import ItemAdded, ThreadCreated
from clew_events.queries import GetThread, ListItems
from clew_events.subjects import Address
from clew_services.compose import Clew
from clew_services.embedded.server import EmbeddedServer
from clew_services.imports import chatgpt_export, openai_dump, thread_import
from clew_services.imports.source_file import hash_file, read_objects
from clew_services.imports.source_thread import conversation_id
from clew_services.imports.thread_import import ImportReport, ThreadImport
from support.cli import clew as run_cli
from support.exports import EXPORTS, assistant, conversation, node, written
from support.parts import verifier_of
from support.truth import buckets_equal_the_log, log_of, projecting

OPENAI = EXPORTS / "openai.jsonl"
CHATGPT = EXPORTS / "chatgpt.json"


async def imported(clew: Clew, file: Path, tenant: str = "default", *, dry_run: bool = False) -> ImportReport:
    source = openai_dump if file.suffix == ".jsonl" else chatgpt_export
    return await ThreadImport(clew.opened, source, tenant=tenant, actor="ada").run([file], dry_run=dry_run)


async def kept(clew: Clew, tenant: str) -> dict[str, list[Any]]:
    """What a tenant's log says of each thread, but for times and salts, and where it says so."""
    logs = {address.thread: log for address, log in (await log_of(clew)).items() if address.tenant == tenant}
    for fork in (event.parent for log in logs.values() for event in log[0].commit.events[:1]):
        if fork is not None:
            parent = logs[fork.thread][fork.n - 1]
            assert (fork.hash, fork.seq) == (parent.hash, parent.position.seq)
    return {thread: [(each.commit.n, _alike(each.commit.events)) for each in log] for thread, log in logs.items()}


def _alike(events: tuple[Any, ...]) -> tuple[Any, ...]:
    """Events without the hash and the sequence of what a thread was forked from."""
    first = events[0]
    if not isinstance(first, ThreadCreated) or first.parent is None:
        return events
    return (replace(first, forked_from=replace(first.parent, hash="", seq=0)), *events[1:])


async def test_an_imported_thread_is_read_as_any_other_with_the_times_of_its_original(clew: Clew) -> None:
    report = await imported(clew, OPENAI)
    assert (report.new, report.items, report.there, report.refused) == (2, 9, 0, [])
    thread = (await clew.reader.answer("default", GetThread(thread_id="thread_abc123"))).thread
    assert (thread.created_at, thread.metadata) == (1699012949, {"customer": "c-17"})
    page = (await clew.reader.answer("default", ListItems(thread_id="conv_6f2a9c", limit=10, order="asc"))).items
    assert [json.loads(bytes(item))["id"] for item in page.data][:3] == ["msg_67ccd2bed1ec8190", "fc_1", "fco_1"]
    assert b'"value":1.10,"large":123456789012345678901234567890' in bytes(page.data[3])
    async with projecting(clew):
        await buckets_equal_the_log(clew)


async def test_a_branch_is_a_fork_that_shows_what_it_shares_with_its_conversation(clew: Clew, tmp_path: Path) -> None:
    nodes = [
        node("a", "root", "user", "Hi"),
        assistant("b", "a", "Hello"),
        assistant("c", "a", "Hey"),
        node("d", "c", "user", "So?"),
        assistant("e", "c", "Well"),
    ]
    file = written(tmp_path, [conversation("b", nodes)])
    report = await imported(clew, file)
    assert (report.new, report.branches, report.items, report.refused) == (3, 2, 5, [])
    with read_objects(file) as objects:
        main, first, second = chatgpt_export.join("c", [*chatgpt_export.split(objects)])

    assert [await items_of(clew, thread.id) for thread in (main, first, second)] == [
        ["a", "b"],
        ["a", "c", "d"],
        ["a", "c", "e"],
    ]
    assert (await verifier_of(clew).all()).findings == ()
    async with projecting(clew):
        await buckets_equal_the_log(clew)


async def test_a_branch_comes_later_than_its_conversation_if_that_is_there(clew: Clew, tmp_path: Path) -> None:
    nodes = [node("a", "root", "user", "Hi"), assistant("b", "a", "Hello")]
    other = assistant("c", "a", "Hey")
    await imported(clew, written(tmp_path, [conversation("b", nodes, own) for own in ("1", "2")]))
    deleted = conversation_id("chatgpt", "2")
    await clew.handler.handle("default", DeleteThread(thread_id=deleted))
    grown = [conversation("b", [*nodes, other], own) for own in ("1", "2")]
    grown.append(conversation("b", [nodes[0], {**nodes[1], "parent": "lost"}, other], "3"))
    report = await imported(clew, written(tmp_path, grown))
    assert (report.new, report.branches, report.there) == (1, 1, 2)
    assert [refusal.why.rpartition(": ")[2] for refusal in report.refused] == [
        "its parent lost is not in the tree",
        "it is a branch of a conversation that was deleted here",
    ]


async def test_the_history_says_when_and_by_whom_a_thread_was_imported_and_where_it_was_before(clew: Clew) -> None:
    before = datetime.now(UTC)
    await imported(clew, OPENAI)
    (recorded,) = (await log_of(clew))[Address("default", "thread_abc123")]
    commit = recorded.commit
    assert (commit.command, commit.by, commit.actor) == ("ImportThread", "import", "ada")
    assert before <= commit.at <= datetime.now(UTC)
    created, asked, *_ = commit.events
    assert isinstance(created, ThreadCreated)
    assert created.imported == Provenance(
        "openai", "thread_abc123", hash_file(OPENAI), datetime(2023, 11, 3, 12, 2, 29, tzinfo=UTC)
    )
    assert isinstance(asked, ItemAdded)
    assert asked.created_at == datetime(2023, 11, 3, 12, 2, 30, tzinfo=UTC)
    assert b"c-17" not in recorded.body.partition(b"\n")[0]
    assert b"1699012949" not in recorded.body.partition(b"\n")[0]


async def test_what_was_imported_is_there_and_goes_on_as_any_thread_does(clew: Clew) -> None:
    await imported(clew, OPENAI)
    first = await kept(clew, "default")
    again = await imported(clew, OPENAI)
    assert (again.new, again.there, again.refused) == (0, 2, [])
    assert await kept(clew, "default") == first
    await clew.handler.handle("default", AddItems(thread_id="conv_6f2a9c", items=tuple(openai_items("more"))))
    await clew.handler.handle("default", DeleteThread(thread_id="thread_abc123"))
    once_more = await imported(clew, OPENAI)
    assert (once_more.new, once_more.there, once_more.refused) == (0, 2, [])
    with pytest.raises(NotFound):
        await clew.reader.answer("default", GetThread(thread_id="thread_abc123"))


def openai_items(*texts: str) -> Iterable[Raw]:
    return [Raw(json.dumps({"type": "message", "role": "user", "content": text}).encode()) for text in texts]


async def items_of(clew: Clew, thread: str) -> list[str]:
    page = (await clew.reader.answer("default", ListItems(thread_id=thread, limit=100, order="asc"))).items
    return [json.loads(bytes(item))["id"] for item in page.data]


async def test_a_thread_that_has_grown_there_grows_here_and_its_branches_with_it(
    clew: Clew, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clew_services.imports.thread_commits.COMMIT_BYTES", 400)
    nodes = [
        node("a", "root", "user", "x" * 300),
        assistant("b", "a", "y" * 300),
        assistant("c", "a", "another answer"),
        node("d", "b", "user", "z" * 300),
        assistant("e", "d", "the end"),
        node("f", "c", "user", "on the branch"),
        assistant("g", "d", "a new branch"),
    ]
    main, thread = conversation_id("chatgpt", "1"), Address("default", conversation_id("chatgpt", "1"))
    early = written(tmp_path, [conversation("b", nodes[:3], "1")])
    await imported(clew, early)
    await clew.handler.handle("default", UpdateThread(thread_id=main, metadata={"label": "x"}))
    late = written(tmp_path, [conversation("e", nodes, "1", "Another title")], "late.json")
    dry = await imported(clew, late, dry_run=True)
    report = await imported(clew, late)
    assert report == dry
    assert (report.new, report.branches, report.grown, report.items, report.refused) == (1, 1, 2, 4, [])
    assert report.notes == {"the metadata is another than when it was imported, and stays what it is here": 2}
    log = (await log_of(clew))[thread]
    assert [each.commit.command for each in log] == ["ImportThread"] * 2 + ["UpdateThread"] + ["ImportThread"] * 2
    with read_objects(late) as objects:
        threads = chatgpt_export.join("1", [*chatgpt_export.split(objects)])
    shown = [await items_of(clew, each.id) for each in threads]
    assert shown == [["a", "b", "d", "e"], ["a", "c", "f"], ["a", "b", "d", "g"]]
    for file in (late, early):
        again = await imported(clew, file)
        assert (again.new, again.grown, again.items, again.refused) == (0, 0, 0, [])
    assert (await log_of(clew))[thread] == log
    assert (await verifier_of(clew).all()).findings == ()
    async with projecting(clew):
        await buckets_equal_the_log(clew)


async def test_a_thread_that_is_there_otherwise_stays_as_it_is(clew: Clew, tmp_path: Path) -> None:
    nodes = [node("a", "root", "user", "Hi"), assistant("b", "a", "Yes")]
    own = ["edited", "changed", "deleted"]
    await imported(clew, written(tmp_path, [conversation("b", nodes, each) for each in own]))
    changed, deleted = (conversation_id("chatgpt", each) for each in own[1:])
    await clew.handler.handle("default", AddItems(thread_id=changed, items=tuple(openai_items("mine"))))
    await clew.handler.handle("default", DeleteThread(thread_id=deleted))
    await clew.handler.handle("default", CreateThread(thread_id="thread_abc123"))
    before = await kept(clew, "default")
    grown = [*nodes, node("c", "b", "user", "So?")]
    edited = [node("a", "root", "user", "Hey"), *grown[1:]]
    objects = [conversation("c", edited if each == "edited" else grown, each) for each in own]
    report = await imported(clew, written(tmp_path, objects))
    assert (report.grown, report.there, [refusal.thread for refusal in report.refused]) == (0, 1, own[:2])
    assert report.refused[0].why.endswith("it is there already with other contents: it stays as it is")
    assert "its items were changed here" in report.refused[1].why
    report = await imported(clew, OPENAI)
    assert [refusal.why.rpartition(": ")[2] for refusal in report.refused] == [
        "a thread with this id is there already, and was not imported from there"
    ]
    after = await kept(clew, "default")
    assert {thread: after[thread] for thread in before} == before
    assert report.new == 1


async def test_an_import_that_was_killed_anywhere_and_is_repeated_is_as_one_that_was_not(
    clew: Clew, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thread_import, "TOGETHER", 2)
    monkeypatch.setattr("clew_services.imports.thread_commits.COMMIT_BYTES", 400)
    nodes = [
        node("a", "root", "user", "x" * 300),
        assistant("b", "a", "y" * 300),
        node("c", "b", "user", "z" * 300),
        assistant("d", "b", "another answer"),
        node("e", "d", "user", "and so on"),
        node("f", "d", "user", "or so"),
    ]
    file = written(tmp_path, [conversation("c", nodes, f"c{number}") for number in range(4)])
    whole = ThreadImport._publish
    published = 0

    async def publish(self: ThreadImport, messages: Any, *, die: int, after: bool) -> list[int]:
        nonlocal published
        published += 1
        if published == die and not after:
            raise Unavailable("killed")
        done = await whole(self, messages)
        if published >= die:
            raise Unavailable("killed")
        return done

    await imported(clew, file, "whole")
    wanted = await kept(clew, "whole")
    assert sorted({len(log) for log in wanted.values()}) == [1, 2, 3]
    die = 0
    while True:
        die += 1
        published = 0
        tenant = f"killed-{die}"
        with monkeypatch.context() as patch:

            async def dying(self: ThreadImport, messages: Any, die: int = die) -> list[int]:
                return await publish(self, messages, die=die, after=die % 2 == 0)

            patch.setattr(ThreadImport, "_publish", dying)
            try:
                await imported(clew, file, tenant)
            except Unavailable:
                pass
            else:
                break
        there = await kept(clew, tenant)
        assert all(len(log) == len(wanted[thread]) for thread, log in there.items()), "a thread is there by half"
        report = await imported(clew, file, tenant)
        assert (report.new + report.there, report.refused) == (12, [])
        assert await kept(clew, tenant) == wanted
    assert die > 4


async def test_a_dry_run_and_a_file_that_is_not_whole_write_nothing(clew: Clew, tmp_path: Path) -> None:
    report = await imported(clew, CHATGPT, dry_run=True)
    assert (report.new, report.branches, report.items) == (3, 1, 6 + 2)
    cut = tmp_path / "cut.json"
    cut.write_bytes(CHATGPT.read_bytes()[:-20])
    with pytest.raises(Invalid, match="not whole"):
        await imported(clew, cut)
    assert await log_of(clew) == {}


async def test_one_thread_that_cannot_be_imported_keeps_no_other_from_it(clew: Clew, tmp_path: Path) -> None:
    good, bad = [node("a", "root", "user", "Hi")], [node("a", "lost", "user", "Hi")]
    half = [node("a", "root", "user", "\ud83d")]
    file = written(tmp_path, [conversation("a", nodes, own) for own, nodes in (("1", bad), ("2", good), ("3", half))])
    report = await imported(clew, file)
    assert (report.new, [refusal.thread for refusal in report.refused]) == (1, ["1", "3"])
    assert "node a: its parent lost is not in the tree" in report.refused[0].why
    assert "object 3: half of a surrogate pair" in report.refused[1].why


def test_the_command_line_shows_what_would_come_imports_it_and_names_what_cannot(
    deployment: EmbeddedServer, tmp_path: Path
) -> None:
    env = {"CLEW_NATS": deployment.url}
    import_ = ("import", "--from", "langgraph", str(EXPORTS / "langgraph.jsonl"))
    dry = run_cli(*import_, "--dry-run", env=env)
    assert (dry.returncode, dry.stdout) == (1, "would import 1 thread with 6 items. Threads there already: 0\n")
    assert "cannot import ada@example.com: " in dry.stderr
    assert "--id-key" in dry.stderr
    secret = tmp_path / "secret"
    secret.write_text("a secret\n")
    done = run_cli(*import_, "--id-key", str(secret), "--json", env=env)
    assert (done.returncode, json.loads(done.stdout)["threads"]) == (
        0,
        {"new": 2, "branches": 0, "grown": 0, "there": 0, "refused": 0},
    )
    again = run_cli(*import_, "--id-key", str(secret), env=env)
    assert again.stdout == "imported 0 threads with 0 items. Threads there already: 2\n"
    forked = run_cli("import", "--from", "chatgpt", str(CHATGPT), env=env)
    assert forked.stdout.startswith("imported 3 threads with 8 items, 1 fork among them. Threads there already: 0\n")
    wrong = run_cli("import", "--from", "openai", str(CHATGPT), env=env)
    assert (wrong.returncode, "import it with --from chatgpt" in wrong.stderr) == (1, True)
    for arguments in (("--key", "x"), ("--erasures", str(secret))):
        assert run_cli(*import_, *arguments, env=env).returncode == 2
    for arguments in ((str(CHATGPT),), ("--from", "chatgpt", str(CHATGPT))):
        assert run_cli("import", *arguments, "--id-key", str(secret), env=env).returncode == 2
    assert run_cli("import", str(CHATGPT), str(OPENAI), env=env).returncode == 2
