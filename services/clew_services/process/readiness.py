"""How a part of Clew tells whoever started it that it is ready, and where it listens.

The starter hands down a pipe; the part writes one JSON object of facts into it and closes it. A part that was
started by hand has no such pipe and says nothing.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from typing import Final

import msgspec

VARIABLE: Final = "CLEW_READY_FD"


def announce_ready(facts: Mapping[str, str]) -> None:
    """Tell the starter, once, if it wants to know."""
    descriptor = os.environ.pop(VARIABLE, None)
    if descriptor is not None:
        with os.fdopen(int(descriptor), "wb") as pipe:
            pipe.write(msgspec.json.encode(facts))


async def read_announcement(descriptor: int) -> dict[str, str] | None:
    """What the part at the other end of the pipe announced; nothing if it ended before. Closes ``descriptor``."""
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(descriptor, "rb", buffering=0)
    )
    try:
        said = await reader.read()
    finally:
        transport.close()
    return msgspec.json.decode(said, type=dict[str, str]) if said else None
