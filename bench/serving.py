"""Commands and queries against a whole service over NATS and HTTP, durable, as a user starts it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import msgspec
import nats
from nats.aio.client import Client

from bench.http_load import http_load, request_bytes
from bench.lane import ROUNDS, SHARDS, Lane, in_turn
from bench.load import Measured, closed_loop, middle
from bench.service import KEY, Service, memory, service
from clew_events import ids
from clew_events.subjects import Address, command_subject, event_stream, event_subject, query_subject, shard_of

BODY = b'{"metadata":{"user":"ada","topic":"weather"},"messages":[{"role":"user","content":"How warm is it?"}]}'
COMMIT_SIZE = 700
"""Bytes of the commit that ``BODY`` becomes, for the raw publish beside it."""


async def serving(seconds: float) -> tuple[list[Lane], Mapping[str, float]]:
    """The lanes, and the memory of every process after them in megabytes."""
    async with service() as running:
        nc = await nats.connect(running.nats)
        try:
            lanes = [await _create(nc, seconds), await _get(nc, seconds), *(await _http(running, nc, seconds))]
            return lanes, memory(running.pid)
        finally:
            await nc.close()


async def _create(nc: Client, seconds: float) -> Lane:
    js = nc.jetstream()
    await streams_like_the_log(nc)
    command = command_subject("bench", "create_thread")

    async def create(_: int) -> None:
        _ok((await nc.request(command, BODY, timeout=10)).data)

    async def publish(_: int) -> None:
        thread = ids.random_id("thread_")
        subject = f"raw.{shard_of(thread, SHARDS)}.bench.{thread}"
        headers = {"Nats-Msg-Id": thread, "Nats-Expected-Last-Subject-Sequence": "0"}
        await js.publish(subject, bytes(COMMIT_SIZE), headers=headers, timeout=10)

    ours, raw = await in_turn(
        lambda: closed_loop(create, workers=64, seconds=seconds),
        lambda: closed_loop(publish, workers=64, seconds=seconds),
    )
    name = "create over NATS, fsynced, 64 in flight"
    return Lane(name=name, clew=ours, raw_name="guarded publish, fsynced", raw=raw, goal=0.55)


async def streams_like_the_log(nc: Client) -> None:
    """Streams set up as those of the log are, on the same server, for the raw publishes beside it."""
    js = nc.jetstream()
    for shard in range(SHARDS):
        config = (await js.stream_info(event_stream(shard))).config
        await js.add_stream(
            config.evolve(name=f"RAW_{shard}", subjects=[f"raw.{shard}.>"], republish=None, metadata=None)
        )


async def _get(nc: Client, seconds: float) -> Lane:
    threads = await threads_of(nc, 1000)
    query = query_subject("bench", "get_thread")

    async def get(number: int) -> None:
        thread = threads[number % len(threads)].encode()
        _ok((await nc.request(query, b'{"thread_id":"%s"}' % thread, timeout=10)).data)

    async def direct_get(number: int) -> None:
        thread = threads[number % len(threads)]
        shard = shard_of(thread, SHARDS)
        subject = event_subject(shard, Address("bench", thread))
        await nc.request(f"$JS.API.DIRECT.GET.{event_stream(shard)}.{subject}", timeout=10)

    ours, raw = await in_turn(
        lambda: closed_loop(get, workers=64, seconds=seconds),
        lambda: closed_loop(direct_get, workers=64, seconds=seconds),
    )
    return Lane(name="get over NATS, strong, 64 in flight", clew=ours, raw_name="direct get", raw=raw, goal=0.7)


async def _http(running: Service, nc: Client, seconds: float) -> list[Lane]:
    threads = await threads_of(nc, 1000)
    gets = [request_bytes("GET", f"/v1/threads/{thread}", KEY) for thread in threads]
    post = request_bytes("POST", "/v1/threads", KEY, BODY)

    async def load(request: Callable[[int], bytes]) -> Measured:
        one = http_load(running.host, running.port, request, workers=32, seconds=seconds)
        return await one

    return [
        Lane(
            name="create over HTTP, fsynced, 32 connections",
            clew=middle([await load(lambda _: post) for _ in range(ROUNDS)]),
        ),
        Lane(
            name="get over HTTP, strong, 32 connections",
            clew=middle([await load(lambda number: gets[number % len(gets)]) for _ in range(ROUNDS)]),
        ),
    ]


async def threads_of(nc: Client, count: int) -> list[str]:
    """The ids of so many new threads."""

    async def create() -> str:
        reply = await nc.request(command_subject("bench", "create_thread"), BODY, timeout=10)
        _ok(reply.data)
        name: str = msgspec.json.decode(reply.data)["ok"]["thread"]["id"]  # of any version's reply
        return name

    return [each for _ in range(count // 50) for each in await asyncio.gather(*(create() for _ in range(50)))]


def _ok(reply: bytes) -> None:
    if not reply.startswith(b'{"ok"'):
        raise RuntimeError(reply)
