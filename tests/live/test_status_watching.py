from __future__ import annotations

import asyncio
import io
import json
import signal
import subprocess
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace
from rich.console import Console

from clew_events.commands import CreateThread
from clew_events.errors import Fault
from clew_projections.generations import record
from clew_projections.indexer.freshness import IndexFreshness
from clew_projections.integrity.heads_file import HeadsFile
from clew_projections.projector.parked_threads import ParkedThread
from clew_services.checkpoints.ledger import CheckpointCoverage, checkpoint_coverage
from clew_services.checkpoints.log_heads import Heads
from clew_services.checkpoints.maker import Maker
from clew_services.checkpoints.note import SigningKey
from clew_services.cli.status_screen import line, screen
from clew_services.eventstore import generation_streams
from clew_services.status.deployment_status import Glance, Rates, Shard, Status, glances
from clew_services.status.deployment_status import status as deployment_status
from clew_services.status.derived_state import Buckets, BuildProgress, DerivedState, Proof, read_clock_difference
from support.indexes import caught_up, fed
from support.truth import checkpointed, projecting
from support.up import CLEW, environment
from support.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from clew_services.compose import Clew
    from clew_services.embedded.server import EmbeddedServer

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def shard(number: int, **other: float) -> Shard:
    known = {"threads": 10, "commits": 1_234_567, "bytes": 1000, "last_seq": 1_234_567, "behind": 0}
    return Shard(stream=f"CLEW_EVT_{number:02d}", **{**known, **other})  # type: ignore[arg-type]


def status(*shards: Shard, parked: int = 0) -> Status:
    why = [
        ParkedThread(tenant="acme", thread=f"thread_{n}", code="c", reason="a \x1b[31mbad\x1b[0m chain", since=NOON)
        for n in range(parked)
    ]
    return Status(
        nats_server="2.15.1", replicas=1, threads=20, commits=2_469_134, behind=sum(each.behind for each in shards),
        inbox=3, rejected=1, inbox_seq=9, rejected_seq=1, parked=tuple(why), shards=shards,
    )  # fmt: skip


def shown(glance: Glance) -> str:
    console = Console(record=True, width=110, file=io.StringIO())
    console.print(screen(glance, "1.2.3"))
    return console.export_text()


def test_a_screen_shows_totals_rates_and_how_each_shard_stands():
    rates = Rates(commits=1500.25, projected=900, inbox=2, refused=0)
    found = status(shard(0), shard(1, behind=500, lag=2.5), shard(2, behind=1000, lag=70, still=65))
    said = shown(Glance(at=NOON, status=found, rates=rates))
    assert "clew 1.2.3  12:00:00Z  nats-server 2.15.1" in said
    assert [row.split() for row in said.splitlines() if row.startswith("commits")] == [
        ["commits", "2,469,134", "1,500.2"]
    ]
    first, second, third = (row.rstrip() for row in said.splitlines() if row.startswith("CLEW_EVT_"))
    assert first.endswith("idle")
    assert second.split()[-1] == "behind"
    assert "2.5 s" in second
    assert third.endswith("stuck for 65 s")
    assert [row.count("━") for row in (first, second, third)] == [0, 12, 24]


def test_a_screen_names_some_parked_threads_and_obeys_none_of_their_characters():
    said = shown(Glance(at=NOON, status=status(shard(0), parked=8)))
    assert "8 parked threads" in said
    assert said.count("thread_") == 5
    assert "\\x1b[31mbad" in said
    assert "\x1b" not in said


def test_a_screen_says_what_is_wrong_where_nothing_can_be_found():
    fault = Fault(type="unavailable", code="timeout", message="no answer came", retry=True)
    assert "no answer came" in shown(Glance(at=NOON, error=fault))
    assert line(Glance(at=NOON, error=fault)) == "2026-11-22T12:00:00Z  no answer came"


def test_without_a_terminal_a_look_is_a_line():
    rates = Rates(commits=12, projected=9, inbox=0, refused=0)
    assert line(Glance(at=NOON, status=status(shard(0, behind=4, lag=1.25)), rates=rates)) == (
        "2026-11-22T12:00:00Z  2469134 commits (12/s)  4 not projected, oldest 1.2 s  "
        "3 in the inbox  1 rejected  0 parked"
    )


def test_a_look_says_which_buckets_are_live_what_drifted_and_how_fresh_the_rest_is():
    derived = DerivedState(
        buckets=Buckets(live=3, fold=2, kept=(2,), building=BuildProgress(number=4, behind=77)),
        proof=Proof(drift=2, since=NOON, age=7300.0),
        index=IndexFreshness(generation=1, ready=True, behind=9, seconds=2.25, aside=1, bytes=5),
        checkpoint=CheckpointCoverage(number=41, at=NOON, age=90.0, waiting=61.4),
        trouble=("the moon: \x1b[2J",),
    )
    said = shown(Glance(at=NOON, status=replace(status(shard(0)), derived=derived)))
    assert "generation 3 (fold 2), generation 4 is being built, 77 commits behind, kept: 2" in said
    assert "2 threads, all proved as of 2 h ago" in said
    assert "generation 1, 9 commits behind, oldest 2.2 s, 1 thread left out" in said
    assert "number 41, signed 90 s ago, commits wait for the next one, oldest 61 s" in said
    assert "the moon: \\x1b[2J" in said
    assert "\x1b" not in said
    assert "drift 2 threads" in line(Glance(at=NOON, status=replace(status(shard(0)), derived=derived)))


async def test_status_finds_the_proof_the_index_and_the_generation_that_is_being_built(clew: Clew, tmp_path: Path):
    await clew.handler.handle("acme", CreateThread())
    folder = clew.index_in(tmp_path)
    first = (await deployment_status(clew.opened, clew.generations, folder=folder)).derived
    assert first == DerivedState(buckets=Buckets(live=1, fold=clew.fold))
    async with fed(clew, tmp_path), projecting(clew):
        await caught_up(clew, tmp_path)
        await checkpointed(clew)
    watch = clew.watch(1)
    for shard_number in [*range(clew.deployment.shards)] * 3:
        await watch.step(clew.live.current, shard_number)
    made = (await clew.live.alias.change(lambda each: record.begin_build(each, clew.fold, NOON))).record.building
    assert made is not None
    await clew.live.refresh()
    half_made = (await deployment_status(clew.opened, clew.generations, folder=folder)).derived
    assert half_made is not None
    assert half_made.trouble[0].startswith("the generation that is being built: ")
    await generation_streams.make_generation(clew.js, made.number, shards=clew.deployment.shards, replicas=1)
    found = (await deployment_status(clew.opened, clew.generations, folder=folder)).derived
    assert found is not None
    assert found.buckets.building == BuildProgress(number=2, behind=1)
    assert found.index is not None
    assert (found.index.generation, found.index.ready, found.index.behind) == (1, True, 0)
    assert found.proof is not None
    assert found.proof.drift == 0
    assert found.proof.age is not None


@pytest.mark.parametrize(("hours", "words"), [(30, "30 h ahead of"), (-72, "3 days behind"), (0, "")])
async def test_a_clock_that_is_not_the_servers_is_a_line(clew: Clew, hours: int, words: str):
    ahead = await read_clock_difference(clew.js, lambda: datetime.now(UTC) + timedelta(hours=hours))
    assert (ahead is None) == (not hours)
    coverage = CheckpointCoverage(number=1, at=NOON, age=0.0, waiting=0.0, ahead=90_000.0 if hours else 59.0)
    derived = DerivedState(buckets=Buckets(live=1, fold=1), clock=ahead, checkpoint=coverage)
    said = shown(Glance(at=NOON, status=replace(status(shard(0)), derived=derived)))
    assert (f"{words} that of the NATS server" in said) == bool(hours)
    assert ("dated 25 h in the FUTURE" in said) == bool(hours)


async def test_a_look_that_is_cut_short_leaves_nothing_behind_whenever_that_is(clew: Clew, tmp_path: Path):
    for turns in range(20):
        looking = asyncio.create_task(deployment_status(clew.opened, clew.generations, folder=clew.index_in(tmp_path)))
        for _ in range(turns):
            await asyncio.sleep(0)
        looking.cancel()
        await asyncio.wait({looking})  # a question that was made and never asked is a warning, and so a failure here


async def test_how_long_commits_wait_for_a_checkpoint_counts_from_the_first_that_none_covers(clew: Clew):
    shards = clew.deployment.shards
    assert await checkpoint_coverage(clew.js, shards, clew.ledger) is None
    await clew.handler.handle("acme", CreateThread())
    heads = Heads(clew.js, shards, HeadsFile())
    maker = Maker(clew.js, clew.ledger, heads, SigningKey.new())
    await maker.make()
    signed = await checkpoint_coverage(clew.js, shards, clew.ledger)
    assert signed is not None
    assert (signed.number, signed.waiting) == (1, 0.0)
    await clew.handler.handle("acme", CreateThread())

    async def waits() -> bool:
        now = await checkpoint_coverage(clew.js, shards, clew.ledger)
        assert now is not None
        assert now.waiting <= now.age
        return now.waiting > 0

    await eventually(waits)
    await maker.make()
    assert (await checkpoint_coverage(clew.js, shards, clew.ledger)).waiting == 0  # type: ignore[union-attr]
    await heads.close()


async def test_rates_count_what_came_between_two_looks(clew: Clew):
    looks = glances(clew.opened, clew.generations, 0.05)
    first = await anext(looks)
    assert first.status is not None
    assert first.rates is None
    for _ in range(20):
        await clew.handler.handle("acme", CreateThread())
    second = await anext(looks)
    assert second.status is not None
    assert second.rates is not None
    seconds = (second.at - first.at).total_seconds()
    assert second.rates.commits * seconds == pytest.approx(20, rel=0.5)
    assert second.rates.projected == 0
    assert second.status.behind == 20
    await looks.aclose()


async def test_a_server_that_is_gone_is_told_and_looking_goes_on(clew: Clew, deployment: EmbeddedServer):
    looks = glances(clew.opened, clew.generations, 0.05)
    assert (await anext(looks)).status is not None
    await deployment.stop()
    gone = await anext(looks)
    assert gone.error is not None
    assert gone.error.type == "unavailable"
    await deployment.start()
    async with asyncio.timeout(60):
        while (await anext(looks)).status is None:
            pass
    await looks.aclose()


def test_the_command_writes_a_line_of_json_for_each_look_until_it_is_interrupted(deployment: EmbeddedServer):
    command = [*CLEW, "status", "--watch", "--json", "--every", "0.1", "--nats", deployment.url]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as watching:
        assert watching.stdout is not None
        looks = [json.loads(watching.stdout.readline()) for _ in range(2)]
        watching.send_signal(signal.SIGINT)
        _, errors = watching.communicate(timeout=60)
    assert (watching.returncode, errors) == (0, b"")
    assert looks[0]["rates"] is None
    assert looks[1]["rates"]["commits"] == 0
    assert looks[1]["status"]["shards"][0]["lag"] == 0
