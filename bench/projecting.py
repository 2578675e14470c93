"""The projector catching up with a log, beside fetching and acknowledging the same commits and no more."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from nats.js.api import AckPolicy, ConsumerConfig

from bench.lane import SHARDS, Lane, in_turn
from bench.load import Measured
from clew_events.commands import CreateThread, UpdateThread
from clew_events.subjects import event_stream
from clew_services import compose
from clew_services.compose import Clew
from clew_services.embedded.server import EmbeddedServer
from clew_services.eventstore import provision

CROWD = 500


async def projecting(threads: int, commits: int) -> Lane:
    """``threads`` threads of ``commits`` commits each, projected from the beginning."""
    kind = "every commit another thread" if commits == 1 else f"{commits} commits a thread"
    with TemporaryDirectory(prefix="clew-bench-") as data:
        async with EmbeddedServer(Path(data), port=0, sync="2m") as server:
            async with compose.connection(server.url, name="init") as made:
                await provision.init(made.js, shards=SHARDS, max_msg_size=made.nc.max_payload)
            async with compose.connect(server.url, name="bench") as clew:
                for start in range(0, threads, CROWD):
                    await asyncio.gather(*(_thread(clew, commits) for _ in range(start, min(threads, start + CROWD))))
                total = threads * commits
                ours, raw = await in_turn(lambda: _project(clew, total), lambda: _fetch(clew, total))
    return Lane(
        name=f"projector, {kind}",
        clew=ours,
        raw_name="fetch and ack",
        raw=raw,
        goal=0.25 if commits == 1 else 0.5,
    )


async def _thread(clew: Clew, commits: int) -> None:
    done = await clew.handler.handle("bench", CreateThread(metadata={"user": "ada"}))
    if done.thread is None:
        raise RuntimeError(done)
    for step in range(1, commits):
        await clew.handler.handle("bench", UpdateThread(thread_id=done.thread.id, metadata={"step": str(step)}))


async def _fetch(clew: Clew, total: int) -> Measured:
    js = clew.nc.jetstream()

    async def drain(shard: int) -> None:
        stream = event_stream(shard)
        wanted = (await js.stream_info(stream)).state.messages
        config = ConsumerConfig(ack_policy=AckPolicy.EXPLICIT, max_ack_pending=10_000)
        subscription = await js.pull_subscribe("", stream=stream, config=config)
        while wanted:
            for message in await subscription.fetch(min(wanted, 500), timeout=5):
                await message.ack()
                wanted -= 1
        await subscription.unsubscribe()

    started = time.perf_counter()
    await asyncio.gather(*(drain(shard) for shard in range(SHARDS)))
    return _measured(total, started)


async def _project(clew: Clew, total: int) -> Measured:
    for bucket in clew.live.current.buckets:
        await clew.js.api(f"STREAM.PURGE.{bucket.stream}")
    for shard in range(SHARDS):
        await clew.js.api(f"CONSUMER.RESET.{event_stream(shard)}.{clew.live.current.consumer}", {"seq": 1})
    stop = asyncio.Event()
    projectors = [clew.projector(shard) for shard in range(SHARDS)]
    started = time.perf_counter()
    running = [asyncio.create_task(each.run(stop)) for each in projectors]
    while sum(each.commits for each in projectors) < total:
        await asyncio.sleep(0.005)
    measured = _measured(total, started)
    stop.set()
    await asyncio.gather(*running)
    return measured


def _measured(total: int, started: float) -> Measured:
    return Measured(per_second=total / (time.perf_counter() - started), p50=0, p99=0, count=total)
