"""Clew as a library, in one process on a server of its own: ``python -m bench.peers.drivers.with_clew FOLDER SYNC``.

What the service does with a command, without the service: it is decided on, guarded, appended and answered. Nothing
projects here; the log is what the other event stores are too.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import msgspec
import uvloop

from bench.lane import SHARDS
from bench.peers.drivers.driving import BODY, repeat, result, serve
from clew_events.commands import CreateThread
from clew_events.queries import GetFeed
from clew_events.subjects import event_stream
from clew_projections.feed.cursor import first_cursor
from clew_services import compose
from clew_services.compose import Clew
from clew_services.embedded.server import EmbeddedServer
from clew_services.eventstore import provision
from clew_services.process.serve import collect_less

TENANT = "bench"


async def main(folder: str, sync: str) -> None:
    """Start the server, and carry out orders until there are no more."""
    async with EmbeddedServer(Path(folder), port=0, sync=sync) as server:
        async with compose.connection(server.url, name="bench-init") as made:
            await provision.init(made.js, shards=SHARDS, max_msg_size=made.nc.max_payload)
        async with compose.connect(server.url, name="bench") as clew:
            collect_less()
            command = msgspec.convert(BODY, CreateThread, strict=True)

            async def carry_out(order: dict[str, Any]) -> dict[str, Any]:
                if order["do"] == "replay":
                    return await _replay(clew)
                return await repeat(order, lambda _: clew.handler.handle(TENANT, command))

            await serve({"version": server.version, "stored": ""}, carry_out)


async def _replay(clew: Clew) -> dict[str, Any]:
    started = time.perf_counter()
    js = clew.nc.jetstream()
    ends = [(await js.stream_info(event_stream(shard))).state.last_seq for shard in range(SHARDS)]
    count = 0
    async for batch in clew.feed.read_until(TENANT, GetFeed(), first_cursor(SHARDS), ends):
        count += len(batch)
    return result(count, time.perf_counter() - started)


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
