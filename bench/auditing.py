"""What auditors do: the whole log read as one feed, and the feed heard live, beside raw nats-py doing as little."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.js.api import AckPolicy, ConsumerConfig

from bench.generating import Plan, generated
from bench.http_load import request_bytes
from bench.lane import ROUNDS, SHARDS, Cost, Lane, in_turn
from bench.load import Measured
from bench.packing import exporting, verifying
from bench.past import past_lanes
from bench.service import KEY, service
from clew_events.connection import INBOX_PREFIX
from clew_events.nats_security import UNSECURED
from clew_events.queries import GetFeed
from clew_events.subjects import command_subject, event_stream
from clew_projections.feed.cursor import first_cursor
from clew_projections.integrity.verify import Verifier
from clew_services import compose
from clew_services.checkpoints.comparison import Comparison
from clew_services.checkpoints.shard_processes import Login, ShardProcesses
from clew_services.compose import Clew
from clew_services.erasure.evidence import StoredEvidence
from clew_services.process.serve import collect_less

TENANT = "acme"


async def auditing(seconds: float, commits: int = 100_000) -> tuple[list[Lane], list[Cost]]:
    """The lanes, and what reading costs. ``commits`` is the length of the log that is replayed."""
    lanes, costs = await _reading(seconds, commits)
    return [*lanes, await _hearing(seconds)], costs


async def _reading(seconds: float, commits: int) -> tuple[list[Lane], list[Cost]]:
    plan = Plan(commits=commits, threads=max(1, commits // 10), tenants={TENANT: 1})
    with TemporaryDirectory(prefix="clew-bench-") as data:
        async with (
            generated(Path(data), plan, shards=SHARDS) as (server, made),
            compose.connect(server.url, name="bench") as clew,
        ):
            collect_less()
            ours, raw = await in_turn(lambda: _feed(clew, commits), lambda: _fetch(clew, commits))
            whole = Lane(name="replay of the whole log, in order", clew=ours, raw_name="fetch", raw=raw, goal=0.5)
            verified, replayed = await in_turn(lambda: _verify(clew, commits), lambda: _feed(clew, commits))
            chains = Lane(name="verify all chains", clew=verified, raw_name="replay", raw=replayed, goal=0.5)
            packs = Path(data)
            written, bare = await in_turn(lambda: exporting(clew, commits, packs), lambda: _fetch(clew, commits))
            export = Lane(name="export of the whole log", clew=written, raw_name="fetch", raw=bare, goal=0.5)
            checked, again = await in_turn(lambda: verifying(commits, packs), lambda: _feed(clew, commits))
            pack = Lane(name="verify a pack", clew=checked, raw_name="replay", raw=again, goal=0.5)
            costs = await _costs(clew, server.url, commits)
            hundred = await past_lanes(clew, made.of_length[100], seconds) if 100 in made.of_length else []
    return [whole, chains, export, pack, *hundred], costs


async def _costs(clew: Clew, url: str, commits: int) -> list[Cost]:
    """Processor time of this process, and rates by the clock: the lowest of several runs, in turn."""
    opened = clew.opened
    verifier = Verifier(clew.js, opened.shards, StoredEvidence(clew.js, {}))
    extents = await verifier.extents()
    login = Login(url, UNSECURED, INBOX_PREFIX, ())

    async def verify(count: int) -> None:
        processes = ShardProcesses(login, count)
        comparison = Comparison(clew.js, clew.ledger, verifier, opened.shards, processes)
        found = await comparison.whole([], extents, progress=lambda _: None)
        if found.commits != commits or found.findings:
            raise RuntimeError(f"{found.commits} commits of {commits}, {len(found.findings)} findings")

    kinds = (partial(_feed, clew, commits), partial(verify, 1), partial(verify, 2))
    runs = [[await _spend(kind) for kind in kinds] for _ in range(ROUNDS)]
    (replayed, _), (verified, alone), (_, together) = (
        tuple(map(min, zip(*each, strict=True))) for each in zip(*runs, strict=True)
    )
    return [
        Cost("replay of the whole log: µs of processor time a commit", "65 to 126", "11", replayed / commits * 1e6),
        Cost("verification: µs of processor time a commit", "30", "", verified / commits * 1e6),
        Cost("verification beside replay, by processor time", "0.9", "0.8", replayed / verified),
        Cost("verification by two processes beside one, by the clock", "", "1.7", alone / together),
    ]


async def _spend(work: Callable[[], Awaitable[object]]) -> tuple[float, float]:
    """The seconds of processor time and by the clock that work takes."""
    spent, started = time.process_time(), time.perf_counter()
    await work()
    return time.process_time() - spent, time.perf_counter() - started


async def _verify(clew: Clew, commits: int) -> Measured:
    started = time.perf_counter()
    found = await Verifier(clew.js, clew.opened.shards, StoredEvidence(clew.js, {})).all()
    if found.commits != commits or found.findings:
        raise RuntimeError(f"{found.commits} commits of {commits}, {len(found.findings)} findings")
    return Measured(per_second=commits / (time.perf_counter() - started), p50=0, p99=0, count=commits)


async def _feed(clew: Clew, commits: int) -> Measured:
    started = time.perf_counter()
    ends = [(await clew.nc.jetstream().stream_info(event_stream(shard))).state.last_seq for shard in range(SHARDS)]
    found = 0
    async for batch in clew.feed.read_until(TENANT, GetFeed(), first_cursor(SHARDS), ends):
        found += len(batch)
    if found != commits:
        raise RuntimeError(f"{found} commits of {commits}")
    return Measured(per_second=commits / (time.perf_counter() - started), p50=0, p99=0, count=commits)


async def _fetch(clew: Clew, commits: int) -> Measured:
    js = clew.nc.jetstream()

    async def drain(shard: int) -> int:
        left = found = (await js.stream_info(event_stream(shard))).state.messages
        config = ConsumerConfig(ack_policy=AckPolicy.NONE, mem_storage=True)
        subscription = await js.pull_subscribe("", stream=event_stream(shard), config=config)
        while left:
            left -= len(await subscription.fetch(min(left, 500), timeout=5))
        await subscription.unsubscribe()
        return found

    started = time.perf_counter()
    found = sum(await asyncio.gather(*(drain(shard) for shard in range(SHARDS))))
    if found != commits:
        raise RuntimeError(f"{found} commits of {commits}")
    return Measured(per_second=commits / (time.perf_counter() - started), p50=0, p99=0, count=commits)


async def _hearing(seconds: float) -> Lane:
    """From the sending of a command to the reader of its commit; what is compared is one over the p99.

    Not from its acknowledgement: the raw subscription hears of a commit before whoever sent the command is answered.
    """
    async with service() as running:
        nc = await nats.connect(running.nats)
        try:
            heard: dict[str, asyncio.Future[float]] = {}

            async def raw() -> Measured:
                async def told(message: Msg) -> None:
                    _settle(heard, message.data)

                subscription = await nc.subscribe("clew.live.evt.*.bench.*", cb=told)
                await nc.flush()
                try:
                    return await _latencies(nc, heard, seconds)
                finally:
                    await subscription.unsubscribe()

            async def ours() -> Measured:
                reader, writer = await asyncio.open_connection(running.host, running.port)
                writer.write(request_bytes("GET", "/v1/events?stream=true&after=latest", KEY))
                await reader.readuntil(b"retry: 1000\n\n")

                async def reading() -> None:
                    while True:
                        _settle(heard, await reader.readuntil(b"\n\n"))

                task = asyncio.create_task(reading())
                try:
                    await asyncio.sleep(0.2)  # until the reader has come to the live end
                    return await _latencies(nc, heard, seconds)
                finally:
                    task.cancel()
                    with suppress(asyncio.CancelledError):
                        await task
                    writer.close()

            live, core = await in_turn(ours, raw)
        finally:
            await nc.close()
    return Lane(name="live feed, one over its p99", clew=live, raw_name="core NATS", raw=core, goal=1 / 3)


async def _latencies(nc: Client, heard: dict[str, asyncio.Future[float]], seconds: float) -> Measured:
    found: list[float] = []
    until = time.perf_counter() + seconds
    number = 0
    while time.perf_counter() < until:
        number += 1
        name = f"bench-{time.time_ns()}-{number}"
        heard[name] = asyncio.get_running_loop().create_future()
        sent = time.perf_counter()
        reply = await nc.request(command_subject("bench", "create_thread"), b'{"id":"%s"}' % name.encode(), timeout=10)
        if not reply.data.startswith(b'{"ok"'):
            raise RuntimeError(reply.data)
        found.append(await asyncio.wait_for(heard[name], 10) - sent)
        del heard[name]
    found.sort()
    middle, late = found[len(found) // 2] * 1000, found[len(found) * 99 // 100] * 1000
    return Measured(per_second=1000 / max(late, 0.001), p50=middle, p99=late, count=len(found))


def _settle(heard: dict[str, asyncio.Future[float]], body: bytes) -> None:
    now = time.perf_counter()
    at = body.find(b'"bench-')
    name = body[at + 1 : body.index(b'"', at + 1)].decode() if at >= 0 else ""
    if (future := heard.get(name)) is not None and not future.done():
        future.set_result(now)
