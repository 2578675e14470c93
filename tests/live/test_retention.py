"""Threads are removed when their time is over, by policies or by what they say: once, and none while it is held."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from msgspec import Raw
from msgspec.structs import replace

from clew_events import client
from clew_events.commands import DeleteThread, EraseThread, ForkThread, PlaceHold, RestoreThread
from clew_events.errors import Unavailable
from clew_events.events import (
    ErasureRequested,
    Event,
    HoldPlaced,
    RetentionRemoved,
    RetentionSet,
    StandingHoldPlaced,
    StandingHoldReleased,
    ThreadDeleted,
)
from clew_events.list_query import Condition, IdTest
from clew_events.requests import ExpiresAfterIn
from clew_events.subjects import Address
from clew_projections.index.index import BUILDING
from clew_projections.packs.layout import Scope
from clew_projections.packs.pack import Pack
from clew_projections.tenant_state import encode_condition
from clew_services import compose
from clew_services.cli import main
from clew_services.compose import Clew
from clew_services.packs.exporter import Exporter
from clew_services.packs.importer import Importer
from clew_services.packs.pack_files import export
from clew_services.retention import retention_worker
from clew_services.retention.look_book import LookBook, PassState
from clew_services.retention.looks import STEADY, Clocks
from clew_services.retention.retention_worker import RetentionParts, RetentionWorker, serve_retention
from clew_services.threads.handler import Commands
from clew_services.threads.result import Outcome
from support.asgi import call
from support.commits import CREATED, added, body_of, commit, forked, hash_of, order, store
from support.deployments import deployed
from support.indexes import caught_up, fed, names
from support.nats_services import served
from support.waiting import PATIENCE, eventually
from support.writers import Writer

ACME = "acme"
TRIAL = encode_condition(Condition.equal("plan", "trial"))
TEMPLATES = encode_condition(Condition(id=IdTest(prefix="thread_p")))
DAY = timedelta(days=1)


class FakeClocks:
    """The clocks of a machine and a server, some days from now, that go on when they are told to."""

    def __init__(self, ahead: timedelta = timedelta()) -> None:
        self.now = datetime.now(UTC) + ahead
        self.up = 0.0

    def __call__(self, log: datetime) -> Clocks:
        return Clocks(self.now, self.now, "the same", self.up)

    def go_on(self, time: timedelta) -> None:
        self.now += time
        self.up += time.total_seconds()


def policy(name: str, after_days: int, **fields: Any) -> RetentionSet:
    rest = {"since": "created", "where": None, "then": "delete", "erase_after_days": None, **fields}
    return RetentionSet(name=name, after_days=after_days, **rest)


class Retention:
    """Passes over a deployment whose index is current, by clocks that are some days ahead."""

    def __init__(self, clew: Clew, root: Path) -> None:
        self.clew = clew
        self.root = root
        self.clocks = FakeClocks()

    def parts(self) -> RetentionParts:
        book = LookBook(self.clew.js, self.clew.opened.shards, self.clocks)
        return replace(self.clew.retention_parts, book=book)

    def worker(self, commands: Commands | None = None) -> RetentionWorker:
        return RetentionWorker(replace(self.parts(), commands=commands or self.clew.handler), rate=10_000.0)

    async def in_days(self, days: float) -> PassState:
        """What a pass does in some days, when two looks agree."""
        await self.prepare(days)
        return await self.worker().run()

    async def prepare(self, days: float) -> None:
        """Have the clocks believed, and a look be due with which the next agrees."""
        await caught_up(self.clew, self.root)
        self.clocks.go_on(timedelta(days=days, minutes=10))
        await self.parts().book.look()
        self.clocks.go_on(26 * timedelta(hours=1))


@pytest.fixture
async def retention(clew: Clew, tmp_path: Path) -> AsyncIterator[Retention]:
    root = tmp_path / "index"
    clew.open_index(root)
    async with fed(clew, root):
        yield Retention(clew, root)


@pytest.fixture
def writer(clew: Clew) -> Writer:
    return Writer(clew.handler, ACME)


async def statuses(clew: Clew, *threads: str, tenant: str = ACME) -> list[str]:
    found = await asyncio.gather(*(clew.current.read_current(Address(tenant, each)) for each in threads))
    return [each.thread.status for each in found]


async def test_what_is_due_is_deleted_or_erased_in_the_name_of_retention(
    clew: Clew, retention: Retention, writer: Writer
) -> None:
    await writer.create("thread_trial", metadata={"plan": "trial"})
    await writer.create("thread_paid", metadata={"plan": "paid"})
    await writer.create("thread_short", expires_after=ExpiresAfterIn(anchor="created_at", days=3))
    await order(clew, ACME, policy("trials", 5, where=TRIAL, then="erase"), policy("old", 30, erase_after_days=10))
    threads = ("thread_trial", "thread_paid", "thread_short")
    assert (await retention.in_days(2)).deleted == 0
    assert await statuses(clew, *threads) == ["open", "open", "open"]
    done = await retention.in_days(4)
    assert (done.deleted, done.erased, done.held, done.waiting) == (1, 1, 0, 0)
    assert await statuses(clew, *threads) == ["erased", "open", "deleted"]
    last = [each async for each in clew.histories.after(Address(ACME, "thread_short"), 0)][-1].commit
    assert (last.actor, last.by, last.command) == ("retention", "retention", "DeleteThread")
    assert last.reason == "retention: expires_after"
    (record,) = await clew.erasure_records.pending()
    assert (record.erasure.thread_id, record.erasure.code, record.erasure.by) == ("thread_trial", "trials", "retention")
    # Thirty days after it was created one is deleted, and ten days later both are erased that were deleted.
    assert (await retention.in_days(30)).deleted == 1
    assert await statuses(clew, *threads) == ["erased", "deleted", "deleted"]
    assert (await retention.in_days(12)).erased == 2
    assert await statuses(clew, *threads) == ["erased", "erased", "erased"]
    assert (await retention.in_days(1000)).waiting == 0


async def test_held_threads_stay_until_the_hold_is_released(clew: Clew, retention: Retention, writer: Writer) -> None:
    await writer.create("thread_held")
    await writer.create("thread_trial", metadata={"plan": "trial"})
    await clew.handler.handle(ACME, PlaceHold(thread_id="thread_held", hold="case-7"))
    await order(clew, ACME, policy("all", 1, then="erase"), StandingHoldPlaced(hold="case-8", where=TRIAL))
    done = await retention.in_days(3)
    assert (done.held, done.erased, done.oldest) == (2, 0, None)
    await order(clew, ACME, StandingHoldReleased(hold="case-8"))
    # Rules that have changed since the look before are those of another day.
    await caught_up(clew, retention.root)
    done = await retention.worker().run()
    assert (done.held, done.waiting) == (1, 1)
    assert done.oldest is not None
    done = await retention.in_days(0)
    assert (done.held, done.erased) == (1, 1)
    assert await statuses(clew, "thread_held", "thread_trial") == ["open", "erased"]


async def test_a_thread_that_cannot_be_read_holds_up_no_other(clew: Clew, retention: Retention, writer: Writer) -> None:
    for thread in ("thread_broken", "thread_whole"):
        await writer.create(thread)
    await order(clew, ACME, policy("all", 1))
    await caught_up(clew, retention.root)
    await store(clew.nc, Address(ACME, "thread_broken"), b"no commit", shards=clew.deployment.shards)
    assert (await retention.in_days(2)).deleted == 1
    assert await statuses(clew, "thread_whole") == ["deleted"]


async def test_where_nothing_can_be_erased_what_is_due_to_be_is_deleted(
    clew: Clew, retention: Retention, writer: Writer, deployment
) -> None:
    await writer.create("thread_old")
    await order(clew, ACME, policy("all", 1, then="erase"))
    await retention.prepare(2)
    async with compose.connect(deployment.url, name="cannot-erase", may_erase=False) as other:
        other.open_index(retention.root)
        worker = RetentionWorker(replace(other.retention_parts, book=retention.parts().book))
        assert (await worker.run()).deleted == 1
        await caught_up(clew, retention.root)
        assert (await worker.run()).waiting == 1
    assert await statuses(clew, "thread_old") == ["deleted"]


async def test_what_forks_show_is_deleted_and_erased_when_they_are_gone(
    clew: Clew, retention: Retention, writer: Writer
) -> None:
    await writer.create("thread_parent", items=(Raw(b'{"type":"note"}'),))
    await clew.handler.handle(ACME, ForkThread(parent="thread_parent", thread_id="thread_fork"))
    await order(clew, ACME, policy("parents", 1, where=TEMPLATES, then="erase"))
    assert (await retention.in_days(2)).deleted == 1
    done = await retention.in_days(1)
    assert (done.erased, done.held, done.waiting) == (0, 1, 0)
    await clew.handler.handle(ACME, EraseThread(thread_id="thread_fork"))
    assert (await retention.in_days(0)).erased == 1
    assert await statuses(clew, "thread_parent", "thread_fork") == ["erased", "erased"]


async def test_what_is_restored_is_deleted_again_if_days_count_from_its_creation(
    clew: Clew, retention: Retention, writer: Writer
) -> None:
    await writer.create("thread_old", metadata={"plan": "trial"})
    await writer.create("thread_idle")
    await order(clew, ACME, policy("old", 10, where=TRIAL), policy("idle", 10, since="changed"))
    assert (await retention.in_days(11)).deleted == 2
    for thread in ("thread_old", "thread_idle"):
        await clew.handler.handle(ACME, RestoreThread(thread_id=thread))
    done = await retention.in_days(0)
    assert done.deleted == 2  # restoring was days ago, by the clock of this test
    await order(clew, ACME, RetentionRemoved(name="idle"))
    await clew.handler.handle(ACME, RestoreThread(thread_id="thread_idle"))
    await clew.handler.handle(ACME, RestoreThread(thread_id="thread_old"))
    assert (await retention.in_days(0)).deleted == 1
    assert await statuses(clew, "thread_old", "thread_idle") == ["deleted", "open"]


async def test_nothing_is_removed_before_the_clock_is_believed_and_whoever_serves_says_so(
    clew: Clew, retention: Retention, writer: Writer
) -> None:
    await writer.create("thread_old")
    created_at = (await clew.current.read_current(Address(ACME, "thread_old"))).thread.created_at
    assert created_at is not None
    await order(clew, ACME, policy("all", 1))
    await caught_up(clew, retention.root)
    retention.clocks.go_on(DAY * 3)
    parts, stop, ready = retention.parts(), asyncio.Event(), asyncio.Event()
    standing_by = [asyncio.create_task(serve_retention(parts, stop, ready)) for _ in range(2)]
    await ready.wait()

    async def passed() -> bool:
        return await parts.book.state() is not None

    await eventually(passed)
    stop.set()
    await asyncio.gather(*standing_by)
    state = await parts.book.state()
    assert state is not None
    assert (state.waiting, state.oldest, state.believed_at) == (1, created_at + DAY, state.at + STEADY)
    assert (await retention.in_days(0)).deleted == 1


@pytest.mark.parametrize(("code", "level"), [(BUILDING, logging.INFO), ("index_unavailable", logging.WARNING)])
async def test_an_index_that_is_being_built_is_waited_for_without_a_warning(
    retention: Retention, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, code: str, level: int
) -> None:
    stop, passes = asyncio.Event(), list[int]()

    async def run(_: RetentionWorker) -> PassState:
        passes.append(len(passes))
        if len(passes) == 1:
            raise Unavailable("no index", code=code)
        stop.set()
        return PassState(at=datetime.now(UTC))

    monkeypatch.setattr(RetentionWorker, "run", run)
    monkeypatch.setattr(retention_worker, "AGAIN", 0.01)
    caplog.set_level(logging.INFO)
    async with asyncio.timeout(PATIENCE):
        await serve_retention(retention.parts(), stop)
    assert [each.levelno for each in caplog.records if "no index" in each.getMessage()] == [level]


class Stopping:
    """Carries out some commands, and then begins another that never ends."""

    def __init__(self, commands: Commands, *, after: int) -> None:
        self.commands = commands
        self.left = after
        self.stopped = asyncio.Event()

    async def handle(self, *words: Any, **named: Any) -> Outcome:
        if not self.left:
            self.stopped.set()
            await asyncio.Event().wait()
        self.left -= 1
        return await self.commands.handle(*words, **named)


async def test_who_is_killed_goes_on_and_two_at_once_remove_a_thread_once(
    clew: Clew, retention: Retention, writer: Writer
) -> None:
    threads = names(120)
    await asyncio.gather(*(writer.create(each) for each in threads))
    await order(clew, ACME, policy("all", 1))
    await retention.prepare(2)

    async def removed() -> int:
        return (await statuses(clew, *threads)).count("deleted")

    commands = Stopping(clew.handler, after=20)
    killed = asyncio.create_task(retention.worker(commands).run())
    await commands.stopped.wait()
    killed.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await killed
    assert await removed() == 20
    await asyncio.gather(*(retention.worker().run() for _ in range(2)))
    assert await removed() == 120
    for each in threads:
        assert (await clew.current.read_current(Address(ACME, each))).thread.n == 2


async def past(clew: Clew, thread: str, days: float, *batches: Sequence[Event], tenant: str = ACME) -> None:
    """A thread that was written some days ago."""
    at, prev = datetime.now(UTC) - timedelta(days=days), None
    for n, events in enumerate(batches, start=1):
        made = commit(n, *events, prev=prev, thread=thread, tenant=tenant, at=at)
        prev = hash_of(made)
        await store(clew.nc, Address(tenant, thread), body_of(made), shards=clew.deployment.shards)


async def test_an_imported_policy_is_in_force_and_removes_what_was_imported_with_it(
    clew: Clew, retention: Retention, tmp_path: Path
) -> None:
    async with deployed(tmp_path / "origin", shards=2) as server, compose.connect(server.url, name="origin") as origin:
        await past(origin, "thread_old", 20, [CREATED])
        await order(origin, ACME, policy("old", 10))
        await export(Exporter(origin.js, origin.ledger, origin.deployment), Scope(tenant=ACME), tmp_path / "pack")
    importer, pack = Importer(clew.connection, clew.histories), Pack(tmp_path / "pack")
    plan = await importer.plan(pack, key=None, checking=lambda _: None, comparing=lambda _: None)
    await importer.carry_out(pack, plan, lambda _: None)
    await caught_up(clew, retention.root)
    assert (await retention.worker().run()).waiting == 1
    assert await statuses(clew, "thread_old") == ["open"]
    assert (await retention.in_days(0)).deleted == 1
    assert await statuses(clew, "thread_old") == ["deleted"]


async def test_the_proof_names_what_can_be_read_and_is_signed(clew: Clew, deployment, tmp_path: Path) -> None:
    key, file = str(tmp_path / "key"), tmp_path / "statement"

    def prove(*arguments: str) -> Result:
        said = ["prove", "--retention", "--tenant", ACME, "--nats", deployment.url, "--signing-key", key, *arguments]
        result = CliRunner().invoke(main, said)
        assert result.exception is None or isinstance(result.exception, SystemExit), result.output
        return result

    CliRunner().invoke(main, ["checkpoint", "keygen", "--signing-key", key])
    public = CliRunner().invoke(main, ["checkpoint", "key", "--signing-key", key]).stdout.strip()
    erased = ErasureRequested(erasure="erasure_1", items=None, code=None)
    await past(clew, "thread_late", 20, [CREATED])
    await past(clew, "thread_gone", 20, [CREATED], [ThreadDeleted()])
    await past(clew, "thread_held", 20, [CREATED], [HoldPlaced(hold="case-7")])
    await past(clew, "thread_erased", 20, [CREATED], [ThreadDeleted(), erased])
    await past(clew, "thread_young", 5, [CREATED])
    await past(clew, "thread_just_due", 10.01, [CREATED])
    await past(clew, "thread_shown", 60, [CREATED, added(1)], [ThreadDeleted()])
    await past(clew, "thread_fork", 5, [forked(1, thread="thread_shown")])
    await past(clew, "thread_of_others", 20, [CREATED], tenant="globex")
    ran = await asyncio.to_thread(prove)
    assert ran.exit_code == 0, ran.output
    await order(clew, ACME, policy("old", 10, erase_after_days=30))
    ran = await asyncio.to_thread(prove, "--json", "--out", str(file))
    assert ran.exit_code == 5
    said = json.loads(ran.stdout)
    stated = said["statement"]
    assert (said["fulfilled"], [each["thread"] for each in stated["late"]]) == (False, ["thread_late"])
    assert [(each["thread"], each["holds"], each["forks"]) for each in stated["held"]] == [
        ("thread_held", ["case-7"], []),
        ("thread_shown", [], ["thread_fork"]),
    ]
    assert [(each["thread"], each["erasure"]) for each in stated["pending"]] == [("thread_erased", "erasure_1")]
    assert (stated["open"], stated["deleted"], stated["erased"], stated["soon_due"]) == (5, 2, 1, 1)
    assert (stated["n"], stated["policies"][0]["name"]) == (1, "old")
    # The statement is the same text for whoever has it, and is no longer one if a letter of it is changed.
    checked = CliRunner().invoke(main, ["prove", "--retention", "--check", str(file), "--key", public])
    assert (checked.exit_code, "thread_late" in checked.stdout, "not verified" in checked.stdout) == (5, True, False)
    file.write_bytes(file.read_bytes().replace(b"thread_late", b"thread_fine"))
    altered = CliRunner().invoke(main, ["prove", "--retention", "--check", str(file), "--key", public])
    assert "altered" in altered.stderr
    unsigned = CliRunner().invoke(main, ["prove", "--retention", "--check", str(file)])
    assert (unsigned.exit_code, "--check and --key go together" in unsigned.stderr) == (2, True)
    await clew.tenant_list.create({ACME})
    assert "tenant_not_found" in (await asyncio.to_thread(prove, "--tenant", "nope")).stderr
    for out, why in ((file, "exists already"), (tmp_path / "none" / "x", "cannot be written")):
        assert why in (await asyncio.to_thread(prove, "--out", str(out))).stderr
    await clew.handler.handle(ACME, DeleteThread(thread_id="thread_late"))
    ran = await asyncio.to_thread(prove)
    assert ran.exit_code == 0, ran.output
    assert "nothing can be read that is older than the rules say" in ran.stdout


async def test_what_is_due_is_shown_at_every_door_and_run_at_once_from_the_terminal(
    clew: Clew, retention: Retention, deployment
) -> None:
    await past(clew, "thread_late", 20, [CREATED])
    await past(clew, "thread_gone", 60, [CREATED], [ThreadDeleted()])
    await past(clew, "thread_held", 30, [CREATED], [HoldPlaced(hold="case-7")])
    await past(clew, "thread_young", 5, [CREATED])
    await past(clew, "thread_of_others", 20, [CREATED], tenant="globex")
    await order(clew, ACME, policy("old", 10, erase_after_days=30))
    await caught_up(clew, retention.root)
    answer = await call(clew, "GET", "/v1/due?limit=1")
    page = json.loads(answer.body)
    assert answer.status == 200, answer.body
    assert [(each["id"], each["action"], each["policy"], each["deleted"], each["holds"]) for each in page["data"]] == [
        ("thread_held", "delete", "old", False, ["case-7"])
    ]
    assert page["has_more"]
    assert (await call(clew, "GET", "/v1/due?after=nothing")).error["param"] == "after"
    later = datetime.now(UTC) + timedelta(days=6)

    def run(*arguments: str) -> dict:
        said = ["retention", "run", "--tenant", ACME, "--nats", deployment.url, "--json", *arguments]
        result = CliRunner().invoke(main, said, env={"CLEW_INDEX": str(retention.root)})
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    async with served(clew), client.connect(deployment.url, tenant=ACME) as asked:
        due = [(each.id, each.action) async for each in asked.iter_due()]
        assert sorted(due) == [("thread_gone", "erase"), ("thread_held", "delete"), ("thread_late", "delete")]
        assert {each.id async for each in asked.iter_due(until=later)} == {"thread_young", *(name for name, _ in due)}
        shown = (await asyncio.to_thread(run, "--dry-run"))["due"]
        assert sorted((each["id"], each["action"]) for each in shown) == sorted(due)
    # One pass from the terminal looks, and removes nothing before its clock is believed.
    state = await asyncio.to_thread(run)
    assert (state["held"], state["waiting"], state["deleted"]) == (1, 2, 0)
    assert state["believed_at"] is not None
    done = await retention.in_days(0)
    assert (done.deleted, done.erased, done.held) == (1, 1, 1)
