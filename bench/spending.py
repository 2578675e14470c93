"""Which process takes how much processor time of one request, until all that follows from it is done."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import nats
from msgspec import Struct
from nats.aio.client import Client

from bench.http_load import http_load, request_bytes
from bench.load import Measured, closed_loop
from bench.service import KEY, Service, at_rest, by_process, service
from bench.serving import BODY, threads_of
from clew_events.subjects import command_subject, query_subject

HERE: Final = "load generator"
WARM_UP: Final = 1.1
"""A closed loop runs a tenth longer than it counts."""


class Spent(Struct, frozen=True, kw_only=True):
    """Of one kind of request: how many a second, and microseconds of processor time of each, by process."""

    name: str
    per_second: float
    micros: dict[str, float]


async def spending(seconds: float) -> list[Spent]:
    """Creates and gets over HTTP, 32 connections, and over NATS, 64 in flight, on one deployment, one after another."""
    async with service() as running:
        nc = await nats.connect(running.nats)
        try:
            threads = await threads_of(nc, 1000)
            return [await _spent(name, running, run) for name, run in _loads(running, nc, threads, seconds).items()]
        finally:
            await nc.close()


def _loads(
    running: Service, nc: Client, threads: list[str], seconds: float
) -> dict[str, Callable[[], Awaitable[Measured]]]:
    post = request_bytes("POST", "/v1/threads", KEY, BODY)
    gets = [request_bytes("GET", f"/v1/threads/{thread}", KEY) for thread in threads]
    queries = [b'{"thread_id":"%s"}' % thread.encode() for thread in threads]
    create, get = command_subject("bench", "create_thread"), query_subject("bench", "get_thread")

    def over_http(request: Callable[[int], bytes]) -> Callable[[], Awaitable[Measured]]:
        return lambda: http_load(running.host, running.port, request, workers=32, seconds=seconds)

    def over_nats(subject: str, body: Callable[[int], bytes]) -> Callable[[], Awaitable[Measured]]:
        async def ask(number: int) -> None:
            await nc.request(subject, body(number), timeout=10)

        return lambda: closed_loop(ask, workers=64, seconds=seconds)

    return {
        "create over HTTP": over_http(lambda _: post),
        "get over HTTP": over_http(lambda number: gets[number % len(gets)]),
        "create over NATS": over_nats(create, lambda _: BODY),
        "get over NATS": over_nats(get, lambda number: queries[number % len(queries)]),
    }


async def _spent(name: str, running: Service, run: Callable[[], Awaitable[Measured]]) -> Spent:
    await run()
    await at_rest(running.pid)
    before = _computed(running.pid)
    measured = await run()
    here = time.process_time() - before[HERE]
    await at_rest(running.pid)
    after = _computed(running.pid) | {HERE: before[HERE] + here}
    each = measured.count * WARM_UP / 1e6
    micros = {process: (seconds - before.get(process, 0.0)) / each for process, seconds in after.items()}
    return Spent(name=name, per_second=measured.per_second, micros=micros)


def _computed(root: int) -> dict[str, float]:
    """Seconds of processor time so far, by process (Linux)."""
    found = {HERE: time.process_time()}
    for pid, name in by_process(root).items():
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            found[name] = sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
    return found
