"""All of Clew under clients that give up and come back, while its own parts are killed: nothing lost, nothing twice.

It goes on for CLEW_SOAK_SECONDS. CLEW_SOAK_SEED repeats the choices of a run, as far as they are up to the test.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
from collections import Counter
from pathlib import Path
from signal import SIGKILL

import pytest

from clew_events import client
from clew_events.commit import Commit
from clew_events.subjects import Address, event_stream
from clew_services.compose import Clew, connect
from support.lasting import SECONDS
from support.soaking import Soak
from support.truth import buckets_equal_the_log, log_of
from support.up import Up, running_up
from support.waiting import eventually

SEED = int(os.environ.get("CLEW_SOAK_SEED", random.SystemRandom().randrange(10**6)))
THREADS = 5
PARTS = [
    "nats-server",
    "serve api",
    "serve commands query",
    "serve commands query",
    "serve projector erasure retention",
    "serve index",
]


async def kill_parts(up: Up, chance: random.Random) -> Counter[str]:
    """Kill one part after another, at random, for as long as the soak lasts, and at least one; how often each was."""
    killed = Counter[str]()
    until = asyncio.get_running_loop().time() + SECONDS
    while not killed or asyncio.get_running_loop().time() < until:
        await asyncio.sleep(chance.uniform(0.3, 2.0))
        part = chance.choice(PARTS)
        if (pid := up.children().get(part)) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, SIGKILL)
                killed[part] += 1
    return killed


async def soaked(up: Up) -> Soak:
    """The clients after their work, each at the end of its last command."""
    async with client.connect(up.nats_url) as clew:
        threads = [(await clew.create_thread(thread_id=f"thread_{i}")).thread.id for i in range(THREADS)]
    soak = Soak(up, threads, SEED)
    kinds = [soak.http("h1"), soak.http("h2"), soak.nats("n1"), soak.nats("n2")]
    kinds += [soak.inbox("i1"), soak.inbox("i2"), soak.process("p1")]
    async with asyncio.TaskGroup() as clients:
        for each in kinds:
            clients.create_task(each)
        killed = await kill_parts(up, random.Random(SEED))
        soak.stopping.set()
    counts = f"{len(soak.ledger.asked)} asked, {soak.ledger.interrupted} interrupted"
    print(f"seed {SEED}, {SECONDS:g} s: {counts}, killed {dict(killed)}")
    return soak


async def has_come_to_rest(clew: Clew) -> bool:
    """Whether the inbox is empty and every view stands where the log does; no view may differ from it at any time."""
    if (await clew.js.api("STREAM.INFO.CLEW_INBOX"))["state"]["messages"]:  # type: ignore[index]
        return False
    compared = [each async for each in clew.prover().prove()]
    assert [each.finding for each in compared if each.finding is not None] == []
    return all(each.behind == 0 for each in compared)


def everything_happened_once(soak: Soak, log: dict[Address, list[Commit]]) -> None:
    found = {commit.id: address.thread for address, commits in log.items() for commit in commits[1:]}
    found |= {commits[0].id: address.thread for address, commits in log.items() if address.thread not in soak.threads}
    ledger = soak.ledger
    twice = Counter(commit.id for commits in log.values() for commit in commits)
    assert [key for key, count in twice.items() if count > 1] == []
    assert [key for key, thread in ledger.acknowledged.items() if found.get(key) != thread] == []
    assert [key for key, thread in found.items() if ledger.asked.get(key, "nobody's") not in {thread, None}] == []
    assert found.keys() <= ledger.asked.keys()


def the_inbox_kept_its_order(soak: Soak, log: dict[Address, list[Commit]]) -> None:
    for name in ("i1", "i2"):
        found = [
            [commit.id for commit in log[Address("default", thread)] if commit.id.startswith(f"{name}-")]
            for thread in soak.threads
        ]
        assert any(found)
        assert found == [sorted(ids) for ids in found]


@pytest.mark.soak
@pytest.mark.timeout(300 + 2 * SECONDS)
@pytest.mark.filterwarnings("ignore::DeprecationWarning:support.soaking")
async def test_nothing_is_lost_and_nothing_happens_twice_whoever_is_killed_and_whoever_tries_again(
    tmp_path: Path,
) -> None:
    with running_up(tmp_path / "data") as up:
        soak = await soaked(up)
        async with connect(up.nats_url, name="soak") as clew:
            for shard in range(clew.deployment.shards):
                # What killed projectors were handed comes again now, instead of in half a minute.
                await clew.js.api(f"CONSUMER.RESET.{event_stream(shard)}.{clew.live.current.consumer}")
            await eventually(lambda: has_come_to_rest(clew), within=60 + SECONDS)
            log = {address: [each.commit for each in records] for address, records in (await log_of(clew)).items()}
            everything_happened_once(soak, log)
            the_inbox_kept_its_order(soak, log)
            await buckets_equal_the_log(clew)
            print(f"{sum(map(len, log.values()))} commits, {len(soak.ledger.acknowledged)} acknowledged")
