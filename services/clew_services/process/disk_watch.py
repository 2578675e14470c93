"""Adjusts the embedded server's limit to the free space of its disk, and restarts it after the disk was full."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from clew_events.backoff import delays
from clew_services.embedded.server import EmbeddedServer

EVERY: Final = 2.0
"""Seconds between two checks."""
SETTLED: Final = 60.0
"""Seconds after which another failed write counts as a new fault, and the backoff begins again."""

_LOG: Final = logging.getLogger("clew.up")


async def watch_disk(server: EmbeddedServer) -> None:
    """Check without end. A server that stopped writing is shut down once there is space; its keeper restarts it."""
    loop = asyncio.get_running_loop()
    pauses, restarted, logged = delays(first=EVERY, longest=SETTLED), 0.0, False
    while True:
        await asyncio.sleep(EVERY)
        storage = await server.look()
        if storage is None or storage.write_error is None:
            logged = False
            continue
        if not logged:
            _LOG.error(
                "nats-server has stopped writing, and is restarted once its disk has space: %s", storage.write_error
            )
            logged = True
        if not storage.spare:
            continue
        if loop.time() - restarted > SETTLED:
            pauses = delays(first=EVERY, longest=SETTLED)
        _LOG.warning("the disk has space: nats-server is restarted")
        server.end()
        restarted = loop.time()
        await asyncio.sleep(next(pauses))
