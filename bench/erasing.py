"""Deleted threads erased while writers run: what that costs the writers, how fast it goes, and what bounds it.

Writers create threads at a steady rate, first alone, then while erasures are requested, and then while they are carried
out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from random import Random
from typing import Final

import msgspec
import nats
from msgspec import Struct
from nats.aio.client import Client

from bench.generating.inventing import Thread
from bench.generating.writing import BATCH, Writer
from bench.load import Measured, middle
from bench.service import at_rest, computed_by_process, memory, service
from bench.serving import BODY
from clew_events import ids
from clew_events.erasures import Erasure
from clew_events.events import Event, ThreadDeleted
from clew_events.replies import Done, Reply
from clew_events.subjects import ERASED_STREAM, ERASURES, Address, command_subject, shard_of
from clew_services import compose
from clew_services.compose import Clew
from clew_services.erasure.eraser import RATE

TENANT: Final = "bench"
COMMITS: Final = 4
"""Commits of each thread: it is created, has two messages, and is deleted."""
WRITERS: Final = 8
WRITTEN: Final = 80.0
"""Threads that are created a second."""
SLICE: Final = 10.0
_AT_ONCE: Final = 50
_LOOK: Final = 0.25


class Milestones(Struct):
    """When each erasure got how far, in seconds since it was acknowledged, by status."""

    requested: dict[str, float]
    reached: dict[str, dict[str, float]]

    def lag(self, status: str) -> list[float]:
        """Seconds from the acknowledgements to a status, ascending."""
        return sorted(at - self.requested[each] for each, at in self.reached[status].items())


class Erasing(Struct, frozen=True, kw_only=True):
    """The figures. Rates are per second; ``bound`` is the highest rate of threads that the budget of deletions allows.

    ``writers`` has the median of all slices of ten seconds of a phase, and ``worst`` the highest p99 of one: alone,
    while the erasures were requested, and while they were carried out. ``computed`` is seconds of processor time from
    the first request on, and ``memory`` megabytes before and after, both by process. ``done`` threads are out of the
    log. ``lag`` has, by how far it is, how many threads got there, and the seconds from their acknowledgements, the
    median and the most.
    """

    threads: int
    commits: int
    shards: int
    seconds: float
    done: int
    per_second: float
    bound: float
    writers: Mapping[str, Measured]
    worst: Mapping[str, float]
    computed: Mapping[str, float]
    lag: Mapping[str, tuple[int, float, float]]
    memory: Mapping[str, tuple[float, float]]


async def erasing(threads: int, seconds: float, commits: int = COMMITS) -> Erasing:
    """Erase deleted threads while writers run, until all are out of the log, or for ``seconds``.

    As after a policy that deletes threads and erases them later, each has ``commits`` commits, the last of which
    deletes it. Up to some hundred threads are erased by single deletions, and more by sweeps.
    """
    async with service() as running, compose.connect(running.nats, name="bench") as clew:
        nc = await nats.connect(running.nats, max_outstanding_pings=100)
        try:
            names = await _deleted_threads(clew, threads, commits)
            await at_rest(running.pid)
            slices: dict[str, list[Measured]] = {"alone": [], "requesting": [], "erasing": []}
            slices["alone"].append(await _slice(nc, min(seconds, SLICE)))
            await at_rest(running.pid)
            before, used = memory(running.pid), computed_by_process(running.pid)
            milestones = Milestones({}, {"out of the log": {}, "erased": {}, "completed": {}})
            began = time.perf_counter()
            watching = asyncio.create_task(_watch(clew, milestones, threads, commits))
            requesting = asyncio.create_task(_request(nc, names, milestones))
            while len(milestones.reached["out of the log"]) < threads and time.perf_counter() - began < seconds:
                for each in (watching, requesting):
                    if each.done():
                        each.result()
                phase = "erasing" if requesting.done() else "requesting"
                slices[phase].append(await _slice(nc, SLICE))
            taken = max(milestones.reached["out of the log"].values(), default=began) - began
            while len(milestones.reached["completed"]) < threads and time.perf_counter() - began < seconds:
                await asyncio.sleep(_LOOK)
            done = len(milestones.reached["out of the log"])
            after, spent = memory(running.pid), computed_by_process(running.pid)
            for each in (watching, requesting):
                each.cancel()
            await asyncio.gather(watching, requesting, return_exceptions=True)
        finally:
            await nc.close()
        shards = clew.deployment.shards
        return Erasing(
            threads=threads,
            commits=commits,
            shards=shards,
            seconds=taken,
            done=done,
            per_second=done / taken if taken else 0.0,
            bound=RATE * shards / commits,
            writers={phase: middle(some) for phase, some in slices.items() if some},
            worst={phase: max(each.p99 for each in some) for phase, some in slices.items() if some},
            computed={name: now - used.get(name, 0.0) for name, now in spent.items()},
            lag={status: _half_and_all(milestones.lag(status)) for status in milestones.reached},
            memory={name: (before.get(name, 0.0), now) for name, now in after.items()},
        )


async def _slice(nc: Client, seconds: float) -> Measured:
    """Create threads at a steady rate, which leaves processors idle, for so many seconds."""
    loop, latencies = asyncio.get_running_loop(), list[float]()
    began = loop.time()

    async def write(worker: int) -> None:
        number = 0
        while (due := began + (number * WRITERS + worker) / WRITTEN) < began + seconds:
            await asyncio.sleep(due - loop.time())
            started = loop.time()
            await _create(nc)
            latencies.append(loop.time() - started)
            number += 1

    await asyncio.gather(*map(write, range(WRITERS)))
    latencies.sort()
    return Measured(
        per_second=len(latencies) / (loop.time() - began),
        p50=latencies[len(latencies) // 2] * 1000,
        p99=latencies[len(latencies) * 99 // 100] * 1000,
        count=len(latencies),
    )


async def _request(nc: Client, names: list[str], milestones: Milestones) -> None:
    for start in range(0, len(names), _AT_ONCE):
        some = names[start : start + _AT_ONCE]
        for each in await asyncio.gather(*(_erase(nc, thread) for thread in some)):
            milestones.requested[each.id] = time.perf_counter()


async def _watch(clew: Clew, milestones: Milestones, threads: int, commits: int) -> None:
    """Note how far each erasure is, from the records as they are written."""
    seq = 1
    while len(milestones.reached["completed"]) < threads:
        page, _ = await clew.js.after(ERASED_STREAM, f"{ERASURES}.*.*", seq)
        now = time.perf_counter()
        for stored in page:
            erasure = msgspec.json.decode(stored.body, type=Erasure)
            for status in _reached(erasure, commits):
                milestones.reached[status].setdefault(erasure.id, now)
        seq = page[-1].seq + 1 if page else seq
        await asyncio.sleep(0 if page else _LOOK)


def _reached(erasure: Erasure, commits: int) -> list[str]:
    out = ["out of the log"] if erasure.commits >= commits - 1 else []
    return out + {"erased": ["erased"], "completed": ["erased", "completed"]}.get(erasure.status, [])


class _Deleted(Thread):
    """A thread with messages, whose last commit deletes it."""

    def _happening(self, chance: Random) -> tuple[str, tuple[Event, ...]]:
        if self.n == self.length:
            return "DeleteThread", (ThreadDeleted(),)
        return super()._happening(chance) if self.n == 1 else ("AddMessage", (self._added(chance),))


async def _deleted_threads(clew: Clew, threads: int, commits: int) -> list[str]:
    """Write threads into the log, all of them at once, commit by commit."""
    shards, chance = clew.deployment.shards, Random("erasing")
    made = [_Deleted(Address(TENANT, ids.derive_id("thread_", "erased", str(n))), commits) for n in range(threads)]
    writers = [Writer(clew.js, shard, 0) for shard in range(shards)]
    for _ in range(commits):
        for thread in made:
            name, body = thread.next(datetime.now(UTC), chance)
            writer = writers[shard_of(thread.address.thread, shards)]
            writer.add(thread, name, body)
            if len(writer.waiting) >= BATCH:
                await writer.flush()
        for writer in writers:
            await writer.flush()
            await writer.settle()
    return [thread.address.thread for thread in made]


async def _create(nc: Client) -> str:
    done = await _send(nc, "create_thread", BODY)
    if done.thread is None:
        raise RuntimeError(done)
    return done.thread.id


async def _erase(nc: Client, thread: str) -> Erasure:
    done = await _send(nc, "erase_thread", b'{"thread_id":"%s"}' % thread.encode())
    if done.erasure is None:
        raise RuntimeError(done)
    return done.erasure


async def _send(nc: Client, command: str, body: bytes) -> Done:
    reply = await nc.request(command_subject(TENANT, command), body, timeout=60)
    done = msgspec.json.decode(reply.data, type=Reply[Done]).ok
    if done is None:
        raise RuntimeError(reply.data)
    return done


def _half_and_all(seconds: list[float]) -> tuple[int, float, float]:
    return (len(seconds), seconds[len(seconds) // 2], seconds[-1]) if seconds else (0, 0.0, 0.0)
