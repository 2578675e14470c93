"""Threads erased while writers run: what the erasing costs the writers, how fast it goes, and what bounds it.

Writers create threads in a closed loop, first alone, and then while many threads are erased.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Final

import msgspec
import nats
from msgspec import Struct
from nats.aio.client import Client

from bench.load import Measured, closed_loop
from bench.service import at_rest, memory, service
from bench.serving import BODY
from clew_events.erasures import Erasure
from clew_events.replies import Done, Reply
from clew_events.subjects import command_subject
from clew_services import compose
from clew_services.compose import Clew
from clew_services.erasure.eraser import RATE

TENANT: Final = "bench"
COMMITS: Final = 10
WRITERS: Final = 16
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

    ``alone`` and ``beside`` are the writers without and with erasing; ``memory`` is in megabytes, by process, before
    and after. ``done`` threads are out of the log. ``lag`` has, by how far it is, how many threads got there, and the
    seconds from their acknowledgements, the median and the most.
    """

    threads: int
    commits: int
    shards: int
    seconds: float
    done: int
    per_second: float
    bound: float
    alone: Measured
    beside: Measured
    lag: Mapping[str, tuple[int, float, float]]
    memory: Mapping[str, tuple[float, float]]


async def erasing(threads: int, seconds: float) -> Erasing:
    """Erase ``threads`` threads of ten commits while writers run, for ``seconds``: so many as are erased by then."""
    async with service() as running, compose.connect(running.nats, name="bench") as clew:
        nc = await nats.connect(running.nats)
        try:
            names = await _threads(nc, threads)
            await at_rest(running.pid)
            alone = await closed_loop(lambda _: _create(nc), workers=WRITERS, seconds=min(seconds, 10.0))
            await at_rest(running.pid)
            before = memory(running.pid)
            milestones = Milestones({}, {"out of the log": {}, "erased": {}, "completed": {}})
            began = time.perf_counter()
            watching = asyncio.create_task(_watch(clew, milestones, threads))
            writing = asyncio.create_task(closed_loop(lambda _: _create(nc), workers=WRITERS, seconds=seconds))
            for start in range(0, threads, _AT_ONCE):
                some = names[start : start + _AT_ONCE]
                for each in await asyncio.gather(*(_erase(nc, thread) for thread in some)):
                    milestones.requested[each.id] = time.perf_counter()
            beside = await writing
            taken = time.perf_counter() - began
            done = len(milestones.reached["out of the log"])
            after = memory(running.pid)
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)
        finally:
            await nc.close()
        shards = clew.deployment.shards
        return Erasing(
            threads=threads,
            commits=COMMITS,
            shards=shards,
            seconds=taken,
            done=done,
            per_second=done / taken,
            bound=RATE * shards / COMMITS,
            alone=alone,
            beside=beside,
            lag={status: _half_and_all(milestones.lag(status)) for status in milestones.reached},
            memory={name: (before.get(name, 0.0), now) for name, now in after.items()},
        )


async def _watch(clew: Clew, milestones: Milestones, threads: int) -> None:
    """Note when each erasure is erased and completed."""
    while len(milestones.reached["completed"]) < threads:
        now = time.perf_counter()
        async for erasure in clew.erasure_records.iterate(TENANT):
            if erasure.id in milestones.requested:
                for status in _reached(erasure):
                    milestones.reached[status].setdefault(erasure.id, now)
        await asyncio.sleep(_LOOK)


def _reached(erasure: Erasure) -> list[str]:
    out = ["out of the log"] if erasure.commits == COMMITS else []
    return out + {"requested": [], "erased": ["erased"], "completed": ["erased", "completed"]}.get(erasure.status, [])


async def _threads(nc: Client, threads: int) -> list[str]:
    names: list[str] = []
    for start in range(0, threads, _AT_ONCE):
        some = await asyncio.gather(*(_create(nc) for _ in range(min(_AT_ONCE, threads - start))))
        for step in range(1, COMMITS):
            await asyncio.gather(*(_change(nc, thread, step) for thread in some))
        names += some
    return names


async def _create(nc: Client) -> str:
    done = await _send(nc, "create_thread", BODY)
    if done.thread is None:
        raise RuntimeError(done)
    return done.thread.id


async def _change(nc: Client, thread: str, step: int) -> None:
    await _send(nc, "update_thread", b'{"thread_id":"%s","metadata":{"step":"%d"}}' % (thread.encode(), step))


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
