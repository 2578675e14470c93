"""The announcement of a child process to its parent that it is ready, and where it listens.

The parent passes a pipe; the child writes one JSON object of facts to it and closes it. A process that was started by
hand has no such pipe and announces nothing.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Final

import msgspec

VARIABLE: Final = "CLEW_READY_FD"


def announce_ready(facts: Mapping[str, str]) -> None:
    """Announce readiness to the parent, once, if it passed a pipe."""
    descriptor = os.environ.pop(VARIABLE, None)
    if descriptor is not None:
        with os.fdopen(int(descriptor), "wb") as pipe:
            pipe.write(msgspec.json.encode(facts))


async def read_announcement(descriptor: int) -> dict[str, str] | None:
    """Read a child's announcement; ``None`` if the child ended before. Closes ``descriptor``."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", buffering=0)
    )
    try:
        body = await reader.read()
    finally:
        transport.close()
    return msgspec.json.decode(body, type=dict[str, str]) if body else None
