"""Closing a connection to NATS, whatever has become of it."""

from __future__ import annotations

import contextlib

from nats.aio.client import Client


async def closed(nc: Client) -> None:
    """Close a connection. What can no longer be sent is dropped: there is nobody left who waits for its answer.

    nats-py 2.16 tries to send it first, and where the connection was lost raises what became of that, in place of
    whatever had the block end that the connection was for.
    """
    with contextlib.suppress(OSError):
        await nc.close()
