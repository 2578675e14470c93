"""Keeps the embedded server's limit at what its disk has room for, and restarts it after the disk was full."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from clew_events.backoff import delays
from clew_services.embedded.server import EmbeddedServer

EVERY: Final = 2.0
"""Seconds between two looks."""
SETTLED: Final = 60.0
"""Seconds after which another failed write is a new trouble, not the old one again."""

_LOG: Final = logging.getLogger("clew.up")


async def watch_disk(server: EmbeddedServer) -> None:
    """Look for ever. A server that stopped writing is ended once there is room, for its keeper to start it again."""
    loop = asyncio.get_running_loop()
    pauses, restarted, told = delays(first=EVERY, longest=SETTLED), 0.0, False
    while True:
        await asyncio.sleep(EVERY)
        found = await server.look()
        if found is None or found.write_error is None:
            told = False
            continue
        if not told:
            _LOG.error(
                "nats-server has stopped writing, and is restarted once its disk has room: %s", found.write_error
            )
            told = True
        if not found.spare:
            continue
        if loop.time() - restarted > SETTLED:
            pauses = delays(first=EVERY, longest=SETTLED)
        _LOG.warning("there is room on the disk: nats-server is restarted")
        server.end()
        restarted = loop.time()
        await asyncio.sleep(next(pauses))
