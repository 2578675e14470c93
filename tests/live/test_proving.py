"""Drift is found, explained and repaired, and what only lags is no drift."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable

import pytest
from msgspec.structs import replace

from clew_events.commands import EraseMessage, EraseThread
from clew_events.queries import GetThread
from clew_events.requests import NewMessage
from clew_events.subjects import Address
from clew_projections import places
from clew_projections.apply import advance_stored
from clew_projections.consistency import watch as watching
from clew_projections.consistency.repair import Repair
from clew_projections.consistency.view_check import ViewComparison
from clew_projections.consistency.watch import Watch, read_proof_state
from clew_projections.kv.key_names import page_key, proved_key, thread_key
from clew_projections.places import Places
from clew_projections.views import StoredView, absent_stored, decode_stored, encode
from clew_services.compose import Clew, connect
from clew_services.embedded.server import EmbeddedServer
from support.cli import clew as run
from support.commits import added, body_of, commit, store
from support.truth import buckets_equal_the_log, checkpointed, projecting
from support.waiting import eventually
from support.writers import Writer, message_id, thread_id

HELLO = NewMessage(role="user", content="hello")
HOME = Address("default", "thread_home")


async def lived(clew: Clew, address: Address = HOME) -> list[str]:
    """A thread of six commits with two messages, projected to its end."""
    writer = Writer(clew.handler, address.tenant)
    await writer.create(address.thread, metadata={"plan": "free"})
    first = message_id(await writer.add(address.thread, "one"))
    await writer.set(address.thread, "mood", "calm")
    second = message_id(await writer.add(address.thread, "two"))
    await writer.change(address.thread, first, metadata={"a": "1"})
    await writer.set(address.thread, "plan", "paid")
    async with projecting(clew):
        await buckets_equal_the_log(clew)
        await checkpointed(clew)
    return [first, second]


async def forge(clew: Clew, change: Callable[[StoredView], StoredView], address: Address = HOME) -> None:
    value = await clew.live.current.threads.get(thread_key(address))
    assert value is not None
    await clew.live.current.threads.put(thread_key(address), encode(change(decode_stored(value.body))), value.revision)


async def drifted(clew: Clew) -> dict[str, ViewComparison]:
    return {each.address.thread: each async for each in clew.prover().prove() if each.finding is not None}


async def repaired(clew: Clew) -> Repair:
    (compared,) = (await drifted(clew)).values()
    done = await clew.repairer().repair(compared)
    assert await drifted(clew) == {}
    await buckets_equal_the_log(clew)
    return done


async def test_a_missed_commit_is_named_and_made_up_for(clew: Clew) -> None:
    await lived(clew)
    await forge(clew, lambda view: replace(view, metadata={"plan": "paid"}))
    done = await repaired(clew)
    assert done.repaired
    assert "commit 3" in done.why[0]
    assert "was missed" in done.why[0]


async def test_a_view_put_back_to_an_older_one_has_missed_what_the_checkpoint_covers(clew: Clew) -> None:
    await lived(clew)
    older = [view async for view in folds(clew)][2]
    await forge(clew, lambda _: older)
    compared = (await drifted(clew))[HOME.thread]
    assert (compared.n, compared.behind, compared.missed) == (3, 3, True)
    done = await repaired(clew)
    assert done.why[0].startswith("commits 4, 5, 6 were never applied")


async def folds(clew: Clew) -> AsyncIterator[StoredView]:

    view, pages = absent_stored(*HOME), dict[int, Places]()
    async for each in clew.histories.after(HOME, 0):
        view, pages = advance_stored(view, pages, each)
        yield view


async def test_a_view_that_is_gone_is_drift_where_the_checkpoint_covers_it(clew: Clew) -> None:
    await lived(clew)
    await clew.js.api(
        f"STREAM.PURGE.{clew.live.current.threads.stream}",
        {"filter": clew.live.current.threads.subject(thread_key(HOME))},
    )
    assert (await repaired(clew)).why[0].startswith("commits 1, 2, 3, 4, 5, 6 were never applied")


async def test_what_is_not_projected_yet_is_counted_and_no_drift(clew: Clew) -> None:
    await lived(clew)
    await Writer(clew.handler).set(HOME.thread, "mood", "wild")
    (compared,) = [each async for each in clew.prover().prove()]
    assert (compared.n, compared.behind, compared.finding) == (6, 1, None)


async def test_what_a_view_still_shows_and_a_later_commit_erases_is_no_drift(clew: Clew) -> None:
    first, _ = await lived(clew)
    erasure = EraseMessage(thread_id=HOME.thread, message_id=first)
    await clew.handler.handle(HOME.tenant, erasure, actor="dpo", by="test")
    (compared,) = [each async for each in clew.prover().prove()]
    assert (compared.behind, compared.finding) == (1, None)
    await clew.handler.handle(HOME.tenant, EraseThread(thread_id=HOME.thread), actor="dpo", by="test")
    (compared,) = [each async for each in clew.prover().prove()]
    assert (compared.behind, compared.finding) == (2, None)
    async with projecting(clew):
        await buckets_equal_the_log(clew)
    (compared,) = [each async for each in clew.prover().prove()]
    assert (compared.behind, compared.finding) == (0, None)


async def test_pages_that_differ_are_named_one_by_one_and_written_anew(
    clew: Clew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "PAGE", 1)
    await lived(clew)
    threads = clew.live.current.threads
    value = await threads.get(page_key(HOME, 0))
    assert value is not None
    page = places.decode_page(value.body, 0)
    await threads.put(page_key(HOME, 0), encode(replace(page, changed={}, seq=page.added[0])), value.revision)
    await clew.js.api(f"STREAM.PURGE.{threads.stream}", {"filter": threads.subject(page_key(HOME, 1))})
    done = await repaired(clew)
    assert done.why == (
        "page 0: commits 5 were missed: it is as after commit 4",
        "page 1 of its places was deleted, or cannot be read",
    )


async def test_a_page_newer_than_its_view_is_no_drift_and_one_that_is_wrong_besides_is(
    clew: Clew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "PAGE", 1)
    first, _ = await lived(clew)
    threads = clew.live.current.threads
    before = await threads.get(thread_key(HOME))
    await Writer(clew.handler).change(HOME.thread, first, metadata={"a": "2"})
    async with projecting(clew):
        await buckets_equal_the_log(clew)
    now = await threads.get(thread_key(HOME))
    assert before is not None
    assert now is not None
    await clew.js.api(f"STREAM.PURGE.{threads.stream}", {"filter": threads.subject("_checkpoint.*")})
    await threads.put(thread_key(HOME), before.body, now.revision)
    assert await drifted(clew) == {}
    value = await threads.get(page_key(HOME, 0))
    assert value is not None
    page = places.decode_page(value.body, 0)
    await threads.put(page_key(HOME, 0), encode(replace(page, changed={1: page.changed[1][1:]})), value.revision)
    assert (await drifted(clew))[HOME.thread].pages == (0,)


@pytest.mark.parametrize("body", [b"", b"nonsense", b'{"id":"other"}'])
async def test_a_view_that_cannot_be_read_is_written_anew(clew: Clew, body: bytes) -> None:
    await lived(clew)
    value = await clew.live.current.threads.get(thread_key(HOME))
    assert value is not None
    await clew.live.current.threads.put(thread_key(HOME), body, value.revision)
    assert (await repaired(clew)).repaired


async def test_a_log_that_lost_its_end_is_not_repaired_over(clew: Clew) -> None:
    await lived(clew)
    await forge(clew, lambda view: replace(view, n=9, seq=view.seq + 50))
    (compared,) = (await drifted(clew)).values()
    done = await clew.repairer().repair(compared)
    assert not done.repaired
    assert "commits were lost" in done.why[-1]
    assert set(await drifted(clew)) == {HOME.thread}


async def test_a_parked_thread_is_behind_for_a_reason_and_not_drifted(clew: Clew) -> None:
    await lived(clew)
    bad = commit(7, added(9), prev="0" * 64, thread=HOME.thread)
    await store(clew.nc, HOME, body_of(bad))
    await Writer(clew.handler).create("thread_other")
    async with projecting(clew):
        await checkpointed(clew)
    assert await drifted(clew) == {}
    (home,) = [each async for each in clew.prover().prove(HOME)]
    assert (home.n, home.behind, home.missed) == (6, 1, False)


async def test_projecting_goes_on_while_all_is_proved_and_nothing_is_found(clew: Clew) -> None:
    writer = Writer(clew.handler)
    threads = [thread_id(await writer.create(messages=(HELLO,))) for _ in range(8)]
    over = asyncio.Event()

    async def lives(thread: str) -> None:
        message = message_id(await writer.add(thread, "x"))
        while not over.is_set():
            await writer.change(thread, message, metadata={"a": "1"})
            await writer.change(thread, message, metadata={})

    async with projecting(clew), asyncio.TaskGroup() as everybody:
        for thread in threads:
            everybody.create_task(lives(thread))
        for _ in range(5):
            assert await drifted(clew) == {}
        over.set()


async def test_a_sample_is_the_same_under_the_same_seed_and_a_tenants_are_theirs_alone(clew: Clew) -> None:
    ours, theirs = Writer(clew.handler), Writer(clew.handler, "acme")
    for _ in range(15):
        await ours.create()
        await theirs.create()

    async def drawn(count: int, seed: int, tenant: str | None = None) -> list[Address]:
        return [each.address async for each in clew.prover().sample(count, seed, tenant=tenant)]

    one = await drawn(8, 7)
    assert len(set(one)) == 8
    assert await drawn(8, 7) == one
    assert await drawn(8, 8) != one
    assert {each.tenant for each in await drawn(5, 1, "acme")} == {"acme"}
    assert len(await drawn(500, 1)) <= 30
    assert {each.address.tenant async for each in clew.prover().prove(tenant="acme")} == {"acme"}
    assert len([each async for each in clew.prover().prove()]) == 30
    assert await drawn(3, 1, "nobody") == []


async def test_whoever_remembers_a_wrong_view_forgets_it_with_the_repair(
    clew: Clew, deployment: EmbeddedServer
) -> None:
    await lived(clew)
    await forge(clew, lambda view: replace(view, metadata={"plan": "gold"}))
    async with connect(deployment.url, name="other") as other:
        wrong = await other.reader.thread("default", GetThread(thread_id=HOME.thread))
        assert wrong.thread is not None
        assert wrong.thread.metadata == {"plan": "gold"}
        env = {"CLEW_NATS": deployment.url}
        found = await asyncio.to_thread(run, "prove", "--all", "--json", env=env)
        assert found.returncode == 5, found.stderr
        mended = await asyncio.to_thread(run, "prove", "--all", "--repair", "--json", env=env)
        assert mended.returncode == 0, mended.stderr
        said = json.loads(mended.stdout)
        assert said["repairs"][0]["repaired"] is True
        assert "something other" in said["repairs"][0]["why"][0]
        await other.live.refresh()
        right = await other.reader.thread("default", GetThread(thread_id=HOME.thread))
        assert right.thread is not None
        assert right.thread.metadata == {"plan": "paid", "mood": "calm"}


# The watch.


async def through(clew: Clew, watch: Watch, rounds: int) -> None:
    """Step by step until every shard has had so many whole rounds."""
    for _ in range(1_000):
        if all(shard in watch.shards and watch.shards[shard].rounds >= rounds for shard in range(2)):
            return
        for shard in range(2):
            await watch.step(clew.live.current, shard)
    pytest.fail("the watch does not come round")


async def test_the_watch_comes_round_finds_drift_says_so_and_is_quiet_after_the_repair(
    clew: Clew, deployment: EmbeddedServer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "ROUND", 0.0)
    monkeypatch.setattr(watching, "PAGE", 4)
    await lived(clew)
    await lived(clew, Address("default", "thread_other"))
    watch = clew.watch(1_000)
    await through(clew, watch, 1)
    assert watch.drift == 0
    assert watch.since is not None

    await forge(clew, lambda view: replace(view, metadata={"plan": "paid"}))
    await through(clew, watch, 3)
    assert watch.drift == 1
    assert "drift: thread thread_home of tenant default" in caplog.text
    assert "--repair" in caplog.text
    seen = await read_proof_state(clew.live.current.threads, range(2))
    assert [finding.thread for each in seen.values() for finding in each.findings] == [HOME.thread]

    mended = await asyncio.to_thread(run, "prove", "--repair", "--all", env={"CLEW_NATS": deployment.url})
    assert mended.returncode == 0, mended.stderr
    assert sum(each.drift for each in (await read_proof_state(clew.live.current.threads, range(2))).values()) == 0
    await through(clew, watch, 6)
    assert watch.drift == 0


async def test_two_watches_share_the_walk_and_a_restarted_one_goes_on(
    clew: Clew, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "PAGE", 4)
    await lived(clew)
    shard = clew.histories.shard(HOME)
    await clew.watch(1).step(clew.live.current, shard)
    one, other = clew.watch(1), clew.watch(1)
    await asyncio.gather(one.step(clew.live.current, shard), other.step(clew.live.current, shard))
    (there,) = (await read_proof_state(clew.live.current.threads, (shard,))).values()
    assert (there.seq, there.threads) == (6, 1)
    await clew.live.current.threads.put(
        proved_key(shard), b"nonsense", (await clew.live.current.threads.get(proved_key(shard))).revision
    )  # type: ignore[union-attr]
    await one.step(clew.live.current, shard)
    assert one.shards[shard].seq == 4


async def test_the_watch_runs_and_stops_with_its_projector_and_not_at_all_at_a_rate_of_nothing(clew: Clew) -> None:
    await lived(clew)
    stop = asyncio.Event()
    await clew.watch(0).run(stop)
    watch = clew.watch(10_000)
    running = asyncio.create_task(watch.run(stop))

    async def been_round() -> bool:
        return watch.since is not None

    await eventually(been_round)
    stop.set()
    await asyncio.wait_for(running, 60)
