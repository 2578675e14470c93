"""Packs put into another deployment: all of it or nothing, as often as one likes, and the same as it was."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner
from msgspec import Raw
from msgspec.structs import replace

from clew_events.commands import (
    AddItems,
    EraseItem,
    EraseThread,
    PlaceHold,
    PlaceStandingHold,
    ReleaseHold,
    ReleaseStandingHold,
)
from clew_events.errors import Conflict, Corrupt, Held, Invalid, NotFound, Unavailable
from clew_events.events import ItemDeleted, MetadataUpdated, RetentionSet, StandingHoldPlaced, StandingHoldReleased
from clew_events.ids import item_id as id_of
from clew_events.list_query import Condition
from clew_events.queries import GetThread
from clew_events.subjects import Address, event_stream
from clew_projections.nats.jetstream import stream_state
from clew_projections.packs.check import Progress
from clew_projections.packs.layout import ErasedContents, Scope
from clew_projections.packs.pack import Pack
from clew_projections.tenant_state import encode_condition
from clew_services import compose
from clew_services.cli import main
from clew_services.compose import Clew
from clew_services.erasure import erasure_file
from clew_services.erasure.erasure_file import KnownErasures
from clew_services.packs import importer as importing
from clew_services.packs.exporter import Exporter
from clew_services.packs.import_plan import Plan
from clew_services.packs.importer import Importer
from clew_services.packs.pack_files import export
from support import forging
from support.commits import CREATED, added, body_of, chain, order
from support.deployments import deployed
from support.erasure_worker import complete_all, known_to
from support.markers import find_marker, new_marker
from support.packing import as_stored, written
from support.parts import verifier_of
from support.waiting import eventually
from support.writers import Writer, message_id

THREADS = [Address("acme" if number % 2 else "other", f"thread_{number}") for number in range(10)]


@pytest.fixture
async def clew(clew: Clew) -> Clew:
    """A deployment in two shards with ten threads of two tenants."""
    for number, address in enumerate(THREADS):
        writer = Writer(clew.handler, address.tenant)
        await writer.create(address.thread, metadata={"number": str(number)}, actor="shop", id=f"make-{number}")
        done = await writer.add(address.thread, "hello", actor="shop")
        await writer.set(address.thread, "plan", "paid", actor="sales")
        await writer.remove(address.thread, message_id(done))
    await Writer(clew.handler, THREADS[0].tenant).delete(THREADS[0].thread)
    return clew


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    """Where another deployment is, in three shards."""
    async with deployed(tmp_path / "target", shards=3) as server:
        yield server.url


@pytest.fixture
async def target(url: str) -> AsyncIterator[Clew]:
    """The other deployment."""
    async with compose.connect(url, name="target") as made:
        yield made


async def packed(clew: Clew, file: Path) -> Pack:
    await export(Exporter(clew.js, clew.ledger, clew.deployment), Scope(), file)
    return Pack(file)


async def imported(target: Clew, pack: Pack) -> Plan:
    importer = Importer(target.connection, target.histories)
    plan = await importer.plan(pack, key=None, checking=_quiet, comparing=_quiet)
    await importer.carry_out(pack, plan, _quiet)
    return plan


def _quiet(_: int) -> None:
    """Progress that nobody watches."""


def counts(plan: Plan) -> tuple[int, int, int, int]:
    return plan.new, plan.continued, plan.complete, plan.commits


async def stored(clew: Clew) -> int:
    return sum([(await stream_state(clew.js, event_stream(shard))).messages for shard in range(clew.deployment.shards)])


async def test_a_pack_is_restored_byte_for_byte_whatever_the_number_of_shards(
    clew: Clew, target: Clew, tmp_path: Path
) -> None:
    pack = await packed(clew, tmp_path / "pack")
    assert counts(await imported(target, pack)) == (10, 0, 0, 41)
    for address in THREADS:
        assert await forging.bodies(target, address) == await forging.bodies(clew, address)
    found = await verifier_of(target).all()
    assert (found.threads, found.commits, found.findings) == (10, 41, ())
    stop = asyncio.Event()
    projecting = asyncio.create_task(target.project(stop))
    try:

        async def projected() -> bool:
            views = [(await target.live.current.threads.get(f"{each.tenant}.{each.thread}")) for each in THREADS]
            return all(view is not None for view in views)

        await eventually(projected)
    finally:
        stop.set()
        await projecting
    assert counts(await imported(target, pack)) == (0, 0, 10, 0)
    assert await stored(target) == 41


async def test_an_imported_thread_goes_on_and_knows_what_was_asked_of_it(
    clew: Clew, target: Clew, tmp_path: Path
) -> None:
    pack = await packed(clew, tmp_path / "pack")
    await imported(target, pack)
    writer = Writer(target.handler, THREADS[3].tenant)
    again = await writer.create(THREADS[3].thread, metadata={"number": "3"}, actor="shop", id="make-3")
    assert again.n == 1
    assert (await writer.set(THREADS[3].thread, "plan", "gold")).n == 5
    # The deployment is ahead of the pack now, and has all that is in it.
    assert counts(await imported(target, pack)) == (0, 0, 10, 0)


async def test_a_later_pack_continues_what_an_earlier_one_brought(clew: Clew, target: Clew, tmp_path: Path) -> None:
    await imported(target, await packed(clew, tmp_path / "first"))
    for step in range(3):
        await Writer(clew.handler, THREADS[1].tenant).set(THREADS[1].thread, "step", str(step))
    await Writer(clew.handler, "acme").create("thread_new")
    assert counts(await imported(target, await packed(clew, tmp_path / "second"))) == (1, 1, 9, 4)
    assert await forging.bodies(target, THREADS[1]) == await forging.bodies(clew, THREADS[1])
    assert (await verifier_of(target).all()).findings == ()


async def test_a_pack_from_before_an_erasure_brings_nothing_back(clew: Clew, tmp_path: Path) -> None:
    marker, address = new_marker(), Address("acme", "thread_packed")
    writer = Writer(clew.handler, address.tenant)
    await writer.create(address.thread, metadata={"name": marker})
    await writer.add(address.thread, marker)
    pack = await packed(clew, tmp_path / "before.clew")
    await clew.handler.handle(address.tenant, EraseThread(thread_id=address.thread))
    before = [each.body async for each in clew.histories.after(address, 0)]
    for state in ("requested", "completed"):
        assert counts(await imported(clew, pack)) == (0, 0, len(THREADS) + 1, 0), state
        assert [each.body async for each in clew.histories.after(address, 0)][: len(before)] == before
        await complete_all(clew)
    assert marker.encode() not in b"".join(before)
    assert (await verifier_of(clew).all()).findings == ()


async def test_a_thread_with_another_history_refuses_the_whole_import(clew: Clew, target: Clew, tmp_path: Path) -> None:
    pack = await packed(clew, tmp_path / "pack")
    for address in THREADS[4:7]:
        await Writer(target.handler, address.tenant).create(address.thread)
    # One is longer than in the pack, and still another.
    for step in range(9):
        await Writer(target.handler, THREADS[4].tenant).set(THREADS[4].thread, "step", str(step))
    before = await stored(target)
    with pytest.raises(Conflict, match="3 threads") as told:
        await imported(target, pack)
    assert all(address.thread in told.value.message for address in THREADS[4:7])
    assert await stored(target) == before


async def test_an_import_that_was_killed_goes_on(
    clew: Clew, target: Clew, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack = await packed(clew, tmp_path / "pack")
    monkeypatch.setattr(importing, "BATCH", 4)
    importer = Importer(target.connection, target.histories)
    plan = await importer.plan(pack, key=None, checking=_quiet, comparing=_quiet)

    for _ in range(3):
        with pytest.raises(_Killed):
            await importer.carry_out(pack, plan, _kill_after(1))
        plan = await importer.plan(pack, key=None, checking=_quiet, comparing=_quiet)
        assert 0 < plan.commits < 41
    assert (await verifier_of(target).all()).findings == ()
    await imported(target, pack)
    assert await stored(target) == 41
    for address in THREADS:
        assert await forging.bodies(target, address) == await forging.bodies(clew, address)


class _Killed(Exception):
    """The end of a process."""


def _kill_after(batches: int) -> Progress:
    left = [batches]

    def progress(_: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise _Killed

    return progress


async def test_whoever_writes_meanwhile_is_not_overwritten(clew: Clew, target: Clew, tmp_path: Path) -> None:
    pack = await packed(clew, tmp_path / "pack")
    importer = Importer(target.connection, target.histories)
    plan = await importer.plan(pack, key=None, checking=_quiet, comparing=_quiet)
    await Writer(target.handler, THREADS[5].tenant).create(THREADS[5].thread)
    with pytest.raises(Conflict, match=THREADS[5].thread):
        await importer.carry_out(pack, plan, _quiet)
    assert len(await forging.bodies(target, THREADS[5])) == 1
    assert (await verifier_of(target).all()).findings == ()
    with pytest.raises(Conflict, match=f"1 threads.*{THREADS[5].thread}"):
        await imported(target, pack)


HELLO = added(1, "hello")
GOODBYE = ItemDeleted(item=id_of(1, "made"))
STRANGER = ItemDeleted(item=id_of(1, "another"))
UNKNOWN = [
    msgspec.structs.replace(each, body=each.body.replace(b"ThreadCreated", b"ThreadForked"))
    for each in as_stored(chain((CREATED,)))
]
BAD = {
    "missing commit": (as_stored(chain((CREATED,), (HELLO,), (GOODBYE,))[::2]), "missing"),
    "unknown event": (UNKNOWN, "unknown_event"),
    "created twice": (as_stored(chain((CREATED,), (CREATED,))), "never again"),
    "never created": (as_stored(chain((HELLO,))), "first commit"),
    "no such message": (as_stored(chain((CREATED,), (GOODBYE,))), "cannot exist"),
    "another message": (as_stored(chain((CREATED,), (HELLO,), (STRANGER,))), "never added"),
    "no events": (as_stored(chain((CREATED,), ())), "no events"),
}


@pytest.mark.parametrize("name", BAD)
async def test_a_pack_with_something_wrong_in_it_is_refused_before_the_first_write(
    clew: Clew, target: Clew, tmp_path: Path, name: str
) -> None:
    commits, told = BAD[name]
    good = as_stored(chain((CREATED,), (HELLO,), thread="thread_good", first_seq=50))
    pack = Pack(written(tmp_path / "pack", [[*commits, *good]], scope=Scope(tenant="default")))
    with pytest.raises(Corrupt, match=told):
        await imported(target, pack)
    assert await stored(target) == 0


async def test_a_commit_that_the_deployment_cannot_take_is_told_before_the_first_write(
    target: Clew, tmp_path: Path
) -> None:
    huge = chain((CREATED,), (added(1, "x" * 9_000_000),))
    with pytest.raises(Exception, match="accepts at most 8388608") as told:
        await imported(target, Pack(written(tmp_path / "pack", [as_stored(huge)])))
    assert told.value.code == "too_large"  # type: ignore[attr-defined]
    assert await stored(target) == 0


async def test_long_threads_and_big_messages_go_through_in_batches(target: Clew, tmp_path: Path) -> None:
    steps = [(MetadataUpdated(set={"step": str(step), "pad": "x" * 5000}, unset=()),) for step in range(2500)]
    long = as_stored(chain((CREATED,), *steps))
    pack = Pack(written(tmp_path / "pack", [long], at_once=500))
    assert counts(await imported(target, pack)) == (1, 0, 0, 2501)
    found = await verifier_of(target).all()
    assert (found.commits, found.findings) == (2501, ())
    history = [each async for each in target.histories.after(Address("default", "thread_made_by_hand"), 0)]
    assert [body_of(each.commit) for each in history] == [each.body for each in long]


async def test_a_server_that_goes_away_is_told_as_what_it_is(clew: Clew, tmp_path: Path) -> None:
    pack = await packed(clew, tmp_path / "pack")
    async with deployed(tmp_path / "gone", shards=2) as server, compose.connect(server.url, name="gone") as target:
        importer = Importer(target.connection, target.histories)
        plan = await importer.plan(pack, key=None, checking=_quiet, comparing=_quiet)
        await target.nc.close()
        with pytest.raises(Unavailable, match="Run the same import again"):
            await importer.carry_out(pack, plan, _quiet)


async def test_the_command_line_imports_and_says_what_it_would(clew: Clew, url: str, tmp_path: Path) -> None:
    where = encode_condition(Condition.equal("plan", "trial"))
    policy = RetentionSet("trials", 9, "created", "delete", None, where)
    await order(clew, "acme", policy, StandingHoldPlaced(hold="case-8", where=where))
    await packed(clew, tmp_path / "less")
    await order(clew, "acme", replace(policy, name="later"), StandingHoldReleased(hold="case-8"))
    await packed(clew, tmp_path / "pack")

    async def cli(*arguments: str) -> str:
        result = await asyncio.to_thread(CliRunner().invoke, main, arguments, env={"CLEW_NATS": url})
        assert result.exit_code == 0, result.stderr
        return result.stdout

    less, file = str(tmp_path / "less"), str(tmp_path / "pack")
    brought = "brings 1 policy of retention and 1 standing hold\n"
    told = await cli("import", less, "--dry-run")
    assert ("would import 42 commits. Threads: 10 new" in told, brought in told) == (True, True)
    told = await cli("import", less)
    assert ("imported 42 commits. Threads: 10 new" in told, brought in told) == (True, True)
    assert '"policies": 1,\n  "standing_holds": 0' in await cli("import", file, "--json", "--dry-run")
    assert (await cli("import", file)).endswith("\nbrings 1 policy of retention\n")
    assert (await cli("import", file)).startswith("imported 0 commits. Threads: 0 new, 0 continued, 10 there already\n")
    assert '"there": 10' in await cli("import", file, "--json", "--dry-run")
    await with_marker(clew)
    await packed(clew, tmp_path / "before")
    await erase(clew)
    await complete_all(clew)
    erasure_file.write(await known_to(clew), tmp_path / "erasures.jsonl")
    known = "--erasures", str(tmp_path / "erasures.jsonl")
    assert "1 erasure since the pack was made: nobody reads" in await cli("import", str(tmp_path / "before"), *known)
    await packed(clew, tmp_path / "after")
    told = "erased in the pack when it was made: 2 contents of 2 commits, by 1 erasure\n"
    assert told in await cli("verify", "--pack", str(tmp_path / "after"))
    assert '"contents": 2' in await cli("verify", "--pack", str(tmp_path / "after"), "--json")
    (tmp_path / "bad").write_bytes((tmp_path / "pack").read_bytes()[:-1])
    result = await asyncio.to_thread(
        CliRunner().invoke, main, ["import", str(tmp_path / "bad")], env={"CLEW_NATS": url}
    )
    assert (result.exit_code, "truncated_pack" in result.stderr) == (5, True)


GONE = Address("acme", "thread_gone")


async def with_marker(clew: Clew) -> str:
    """Another thread, with a text that is to be erased."""
    marker = new_marker()
    writer = Writer(clew.handler, GONE.tenant)
    await writer.create(GONE.thread, metadata={"a": marker})
    await writer.add(GONE.thread, marker)
    return marker


async def erase(clew: Clew) -> None:
    await clew.handler.handle(GONE.tenant, EraseThread(thread_id=GONE.thread), actor="dpo", by="test")


async def refuses(target: Clew) -> None:
    """Nobody reads the thread, and once the worker runs all is in order."""
    for _ in range(2):
        await target.js.refresh()
        with pytest.raises(NotFound):
            await target.reader.thread(GONE.tenant, GetThread(thread_id=GONE.thread))
        assert (await verifier_of(target).all()).findings == ()
        await complete_all(target)
    ended = [each.erasure.status for each in await target.erasure_records.all()]
    assert set(ended) <= {"completed"}


async def test_what_was_erased_since_a_pack_was_made_is_never_written(
    clew: Clew, target: Clew, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = await with_marker(clew)
    pack = await packed(clew, tmp_path / "pack")
    await erase(clew)
    await complete_all(clew)
    importer, known = Importer(target.connection, target.histories), await known_to(clew)

    async def bring() -> tuple[Plan, int]:
        plan = await importer.plan(pack, key=None, checking=_quiet, comparing=_quiet, known=known)
        return plan, await importer.carry_out(pack, plan, _quiet)

    async def cut(*_: object) -> bool:
        raise Unavailable("the power went")

    with monkeypatch.context() as patched:
        patched.setattr(importing.Reapplication, "request", cut)
        with pytest.raises(Unavailable, match="power"):
            await bring()
    plan, requested = await bring()
    assert (counts(plan), requested) == ((0, 0, 11, 0), 1)
    assert (await bring())[1] == 0
    await refuses(target)
    assert find_marker(tmp_path / "target", marker) == []
    foreign = replace(known.header, deployment="another")
    with pytest.raises(Invalid, match="none of them is of a thread in it"):
        await importer.plan(pack, key=None, checking=_quiet, comparing=_quiet, known=KnownErasures(foreign, ()))


async def test_an_item_whose_id_is_used_again_after_an_erasure_is_not_taken_by_it(
    clew: Clew, target: Clew, tmp_path: Path
) -> None:
    writer, thread = Writer(clew.handler, GONE.tenant), GONE.thread
    await writer.create(thread)
    for turn in ("first", "second"):
        item = Raw(b'{"type":"note","id":"it_3","turn":"%s"}' % turn.encode())
        await clew.handler.handle(GONE.tenant, AddItems(thread_id=thread, items=(item,)))
        if turn == "first":
            await clew.handler.handle(GONE.tenant, EraseItem(thread_id=thread, item_id="it_3"), actor="dpo", by="test")
    await complete_all(clew)
    pack = await packed(clew, tmp_path / "pack")
    importer, known = Importer(target.connection, target.histories), await known_to(clew)
    for _ in range(2):
        plan = await importer.plan(pack, key=None, checking=_quiet, comparing=_quiet, known=known)
        await importer.carry_out(pack, plan, _quiet)
    bodies = [each.body async for each in target.histories.after(GONE, 0)]
    assert [b"first" in each for each in bodies] == [False] * len(bodies)
    assert b"second" in b"".join(bodies)


async def test_a_pack_that_has_an_erasure_brings_it_to_what_is_here_already(
    clew: Clew, target: Clew, tmp_path: Path
) -> None:
    await with_marker(clew)
    before = await packed(clew, tmp_path / "before")
    assert before.erased is None
    await imported(target, before)
    await erase(clew)
    under_way = await packed(clew, tmp_path / "under way")
    assert under_way.erased == ErasedContents(erasures=1, under_way=1, commits=2, contents=2)
    await complete_all(clew)
    after = await packed(clew, tmp_path / "after")
    assert after.erased == ErasedContents(erasures=1, commits=2, contents=2)

    # Continued by a pack that was made while it was erased, it is erased here by the worker.
    assert counts(await imported(target, under_way)) == (0, 1, 10, 1)
    await refuses(target)
    assert (await imported(target, before)).removed == 1

    # By one that was made afterwards as well, with the certificate that is in it.
    async with deployed(tmp_path / "third", shards=2) as server, compose.connect(server.url, name="third") as third:
        await imported(third, before)
        assert counts(await imported(third, after)) == (0, 1, 10, 2)
        await refuses(third)
        assert await forging.bodies(third, GONE) == await forging.bodies(clew, GONE)


async def test_a_legal_hold_that_was_placed_here_stands_against_a_file_of_erasures(
    clew: Clew, target: Clew, tmp_path: Path
) -> None:
    marker = await with_marker(clew)
    pack = await packed(clew, tmp_path / "pack")
    await erase(clew)
    await imported(target, pack)
    await target.handler.handle(GONE.tenant, PlaceHold(thread_id=GONE.thread, hold="case-7"))
    importer, known = Importer(target.connection, target.histories), await known_to(clew)
    with pytest.raises(Held, match="case-7"):
        await importer.plan(pack, key=None, checking=_quiet, comparing=_quiet, known=known)
    await target.handler.handle(GONE.tenant, ReleaseHold(thread_id=GONE.thread, hold="case-7"))
    await target.handler.handle(GONE.tenant, PlaceStandingHold(hold="case-8", where=Condition.equal("a", marker)))
    with pytest.raises(Held, match="case-8"):
        await importer.plan(pack, key=None, checking=_quiet, comparing=_quiet, known=known)
    await target.handler.handle(GONE.tenant, ReleaseStandingHold(hold="case-8"))
    plan = await importer.plan(pack, key=None, checking=_quiet, comparing=_quiet, known=known)
    assert await importer.carry_out(pack, plan, _quiet) == 1
    await refuses(target)


async def test_a_thread_that_was_imported_can_be_erased(clew: Clew, target: Clew, tmp_path: Path) -> None:
    address = THREADS[1]
    await imported(target, await packed(clew, tmp_path / "pack"))
    await target.handler.handle(address.tenant, EraseThread(thread_id=address.thread), actor="dpo", by="test")
    await complete_all(target)
    assert [each.commit.n async for each in target.histories.after(address, 0)] == [1, 2, 3, 4, 5, 6]
    assert (await verifier_of(target).all()).findings == ()
