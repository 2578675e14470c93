from __future__ import annotations

import asyncio
import io
import json
import signal
import subprocess
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from clew_events.commands import CreateThread
from clew_events.errors import Fault
from clew_projections.parking import Parked
from clew_services.cli.live import line, screen
from clew_services.running.status import Shard, Status
from clew_services.running.watching import Glance, Rates, glances
from support.up import CLEW, environment

if TYPE_CHECKING:
    from clew_services.compose import Clew
    from clew_services.embedded.server import EmbeddedServer

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def shard(number: int, **other: float) -> Shard:
    known = {"threads": 10, "commits": 1_234_567, "bytes": 1000, "last_seq": 1_234_567, "behind": 0}
    return Shard(stream=f"CLEW_EVT_{number:02d}", **{**known, **other})  # type: ignore[arg-type]


def status(*shards: Shard, parked: int = 0) -> Status:
    why = [
        Parked(tenant="acme", thread=f"thread_{n}", code="c", reason="a \x1b[31mbad\x1b[0m chain", since=NOON)
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


async def test_rates_count_what_came_between_two_looks(clew: Clew):
    looks = glances(clew, 0.05)
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
    looks = glances(clew, 0.05)
    assert (await anext(looks)).status is not None
    await deployment.stop()
    gone = await anext(looks)
    assert gone.error is not None
    assert gone.error.type == "unavailable"
    await deployment.start()
    async with asyncio.timeout(20):
        while (await anext(looks)).status is None:
            pass
    await looks.aclose()


def test_the_command_writes_a_line_of_json_for_each_look_until_it_is_interrupted(deployment: EmbeddedServer):
    command = [*CLEW, "status", "--watch", "--json", "--every", "0.1", "--nats", deployment.url]
    with subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as watching:
        assert watching.stdout is not None
        looks = [json.loads(watching.stdout.readline()) for _ in range(2)]
        watching.send_signal(signal.SIGINT)
        _, errors = watching.communicate(timeout=20)
    assert (watching.returncode, errors) == (0, b"")
    assert looks[0]["rates"] is None
    assert looks[1]["rates"]["commits"] == 0
    assert looks[1]["status"]["shards"][0]["lag"] == 0
