"""How late the projection is when commands come at half the rate that can be taken."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Final

import msgspec
import nats
from msgspec import Struct
from nats.aio.client import Client
from nats.aio.msg import Msg

from bench.load import closed_loop
from bench.scaling.deployments import PATIENCE, WITH
from bench.scaling.lanes import BODY
from bench.service import at_rest, service
from clew_events.replies import Done, Reply
from clew_events.subjects import command_subject
from clew_projections.kv.key_names import bucket_names

SHARE: Final = 0.5
"""Of the rate that was reached before."""
_TAIL: Final = 5.0
_CREATE: Final = command_subject("bench", "create_thread")


class Lag(Struct, frozen=True, kw_only=True):
    """Milliseconds from the acknowledgement of a command to the view of its thread, at so many commands a second."""

    per_second: float
    p50: float
    p99: float
    count: int
    never: int


async def lag(folder: Path, seconds: float) -> Lag:
    """Commands at :data:`SHARE` of the highest rate, evenly, and when their threads are in the bucket."""
    async with service("always", WITH, data=folder, patience=PATIENCE) as running:
        nc = await nats.connect(running.nats)
        try:
            most = await closed_loop(lambda _: _create(nc), workers=64, seconds=seconds)
            await at_rest(running.pid)  # the projection of these is another matter
            return await _at(nc, most.per_second * SHARE, seconds)
        finally:
            await nc.close()


async def _at(nc: Client, rate: float, seconds: float) -> Lag:
    seen: dict[str, float] = {}

    async def projected(message: Msg) -> None:
        seen.setdefault(message.subject.rpartition(".")[2], time.perf_counter())

    await nc.subscribe(f"$KV.{bucket_names(1)[0]}.bench.*", cb=projected)
    await nc.flush()
    acknowledged: dict[str, float] = {}

    async def create() -> None:
        thread = await _create(nc)
        acknowledged[thread] = time.perf_counter()

    began, sent = time.perf_counter(), 0
    async with asyncio.TaskGroup() as under_way:
        while (passed := time.perf_counter() - began) < seconds:
            for _ in range(int(passed * rate) - sent):
                under_way.create_task(create())
                sent += 1
            await asyncio.sleep(0.001)
    until = time.perf_counter() + _TAIL
    while len(seen.keys() & acknowledged.keys()) < len(acknowledged) and time.perf_counter() < until:
        await asyncio.sleep(0.05)
    late = sorted((seen[each] - at) * 1000 for each, at in acknowledged.items() if each in seen)
    return Lag(
        per_second=sent / seconds,
        p50=late[len(late) // 2],
        p99=late[len(late) * 99 // 100],
        count=len(late),
        never=len(acknowledged) - len(late),
    )


async def _create(nc: Client) -> str:
    reply = await nc.request(_CREATE, BODY, timeout=10)
    done = msgspec.json.decode(reply.data, type=Reply[Done]).ok
    if done is None or done.thread is None:
        raise RuntimeError(reply.data)
    return done.thread.id
