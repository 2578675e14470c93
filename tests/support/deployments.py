"""A real NATS server with Clew's streams on it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import nats
from nats.aio.client import Client

from clew_services.embedded.server import EmbeddedServer
from support.ports import free_port

FAST = "2m"
"""How often the server syncs where a test is not about power cuts."""


@contextlib.asynccontextmanager
async def connected_client(url: str) -> AsyncIterator[Client]:
    """A plain nats-py client; closed at the end."""
    client = await nats.connect(url)
    try:
        yield client
    finally:
        if not client.is_closed:
            await client.close()


@contextlib.asynccontextmanager
async def deployed(
    data: Path, *, shards: int = 2, sync: str = FAST, port: int = 0, password: str | None = None
) -> AsyncIterator[EmbeddedServer]:
    """A server on a port, or a free one, with everything that ``clew init`` creates.

    With a password it has the accounts that the server of ``clew up`` has.

    ``kill -9`` is ``os.kill(server.pid, SIGKILL)``; then ``await server.wait()`` and ``await server.start()``
    bring it back on the same store and the same port.
    """
    async with EmbeddedServer(data, port=port or free_port(), sync=sync, password=password) as server:
        await deploy(server.url, shards=shards)
        yield server


async def write_data(data: Path, thread: str) -> None:
    """Make a data folder as a ``clew up`` leaves it that was stopped, and has one thread."""
    from clew_services import compose
    from clew_services.host import nats_url
    from support.writers import Writer

    async with deployed(data, password=nats_url.password(data)) as server:
        nats_url.write(data, server.url)
        async with compose.connect(server.url, name="writer") as clew:
            await Writer(clew.handler).create(thread)


async def deploy(url: str, *, shards: int = 2) -> None:
    """Everything that ``clew init`` creates, on an empty server."""
    from clew_services import compose
    from clew_services.eventstore import provision

    async with compose.connection(url, name="init") as made:
        await provision.init(made.js, shards=shards, max_msg_size=made.nc.max_payload)
