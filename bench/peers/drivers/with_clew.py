"""Clew as a library, in one process on a server of its own: ``python -m bench.peers.drivers.with_clew FOLDER SYNC``.

What the service does with a command, without the service: it is decided on, guarded, appended and answered. Nothing
projects here; the log is what the other event stores are too.
"""

from __future__ import annotations

import asyncio
import sys
import time
from functools import partial
from pathlib import Path

import msgspec
import uvloop

from bench.lane import SHARDS
from bench.peers.drivers.driving import BODY, result
from clew_events.commands import CreateThread
from clew_events.queries import GetFeed
from clew_events.subjects import event_stream
from clew_projections.feed.cursor import first_cursor
from clew_services import compose
from clew_services.compose import Clew
from clew_services.embedded.server import EmbeddedServer
from clew_services.eventstore import provision

TENANT = "bench"


class Order(msgspec.Struct, frozen=True):
    """A line of stdin; see :mod:`bench.peers.drivers.driving`."""

    do: str
    workers: int = 1
    seconds: float | None = None
    count: int | None = None


async def main(folder: str, sync: str) -> None:
    """Start the server, and carry out orders until there are no more."""
    async with EmbeddedServer(Path(folder), port=0, sync=sync) as server:
        async with compose.connection(server.url, name="bench-init") as made:
            await provision.init(made.js, shards=SHARDS, max_msg_size=made.nc.max_payload)
        async with compose.connect(server.url, name="bench") as clew:
            _say({"version": server.version, "stored": ""})
            reader = asyncio.StreamReader()
            await asyncio.get_running_loop().connect_read_pipe(
                partial(asyncio.StreamReaderProtocol, reader), sys.stdin.buffer
            )
            while line := await reader.readline():
                order = msgspec.json.decode(line, type=Order)
                _say(await (_append(clew, order) if order.do == "append" else _replay(clew)))


async def _append(clew: Clew, order: Order) -> dict[str, object]:
    latencies: list[float] = []
    failures: list[str] = []
    left = iter(range(order.count)) if order.count is not None else None
    command = msgspec.convert(BODY, CreateThread, strict=True)
    started = time.perf_counter()
    until = started + (order.seconds or 0)

    async def work() -> None:
        while (time.perf_counter() < until) if left is None else (next(left, None) is not None):
            begun = time.perf_counter()
            try:
                await clew.handler.handle(TENANT, command)
            except Exception as error:  # noqa: BLE001 - whatever it is, it disqualifies the figure
                failures.append(f"{type(error).__name__}: {error}")
            else:
                latencies.append(time.perf_counter() - begun)

    await asyncio.gather(*(work() for _ in range(order.workers)))
    elapsed = time.perf_counter() - started
    return result(len(latencies), elapsed, latencies, len(failures), failures[0] if failures else "")


async def _replay(clew: Clew) -> dict[str, object]:
    started = time.perf_counter()
    js = clew.nc.jetstream()
    ends = [(await js.stream_info(event_stream(shard))).state.last_seq for shard in range(SHARDS)]
    count = 0
    async for batch in clew.feed.read_until(TENANT, GetFeed(), first_cursor(SHARDS), ends):
        count += len(batch)
    return result(count, time.perf_counter() - started)


def _say(fact: dict[str, object]) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(fact) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
