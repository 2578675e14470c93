"""The connection of a process to NATS: it reconnects without end, and reports when it was lost."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from nats.aio.client import Client

from clew_events.connection import INBOX_PREFIX, close, open_client
from clew_projections.nats.jetstream import JetStream
from clew_projections.nats.lean_client import LeanClient
from clew_projections.nats.request_mux import RequestMux

RECONNECT_WAIT: Final = 0.25
PENDING: Final = 64 * 1024 * 1024
"""Bytes that may wait to be sent."""

_LOG: Final = logging.getLogger("clew.nats")


async def flush(nc: Client) -> None:
    """Return when the server has seen to everything that was sent on a connection before.

    Two flushes, because nats-py 2.16 sends the question of a flush ahead of what is still waiting to be sent; that has
    gone out by the time of the first answer, so the second question follows it.

    Raises:
        NatsError: the connection is lost, or the server does not answer.
    """
    await nc.flush()
    await nc.flush()


class Troubles:
    """Logs what is wrong with a connection, each thing once until it is made again."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._known: set[str] = set()

    async def note(self, fault: Exception) -> None:
        """Log an error, unless it was logged since the connection was last made."""
        text = str(fault) or type(fault).__name__
        if text not in self._known:
            self._known.add(text)
            _LOG.warning("%s: %s", self._name, text)

    async def forget(self) -> None:
        """Log that the connection was made again; from now on all errors are new."""
        self._known.clear()
        _LOG.warning("%s: connected again", self._name)


class Connection:
    """A connection to NATS that comes back by itself for ever.

    ``made`` counts how often it was made. It goes up as soon as the connection is lost, before anything is sent on the
    next one, so whoever sees it unchanged has been talking to one run of the server. What is in ``reconnected`` is
    called after it was made again.
    """

    def __init__(self, nc: LeanClient, exchange: RequestMux) -> None:
        self.nc = nc
        self.exchange = exchange
        self.js = JetStream(exchange)
        self.made = 1
        self.reconnected: list[Callable[[], None]] = []


@asynccontextmanager
async def connection(
    url: str, *, name: str, patience: float = 10.0, inbox_prefix: str = INBOX_PREFIX
) -> AsyncIterator[Connection]:
    """A connection to NATS under a name that its operators will see; closed at the end, after a flush.

    ``url`` may be several, with commas between them: servers of one cluster, of which any will do. A user and password
    go into each URL. Replies come to subjects that begin with ``inbox_prefix``.

    Raises:
        Unavailable: no server answers at ``url`` within ``patience`` seconds.
    """
    made: list[Connection] = []
    troubles = Troubles("nats")

    async def on_error(fault: Exception) -> None:
        await troubles.note(fault)
        for connection in made:
            connection.exchange.fail_denied(str(fault))  # whoever waits for what the server does not permit

    async def on_disconnect() -> None:
        for connection in made:
            connection.made += 1
            connection.exchange.fail_pending()

    async def on_reconnect() -> None:
        await troubles.forget()
        for connection in made:
            for tell in tuple(connection.reconnected):
                tell()

    nc = LeanClient()
    await open_client(
        nc,
        url,
        name=name,
        timeout=patience,
        on_error=on_error,
        inbox_prefix=inbox_prefix,
        disconnected_cb=on_disconnect,
        reconnected_cb=on_reconnect,
        reconnect_time_wait=RECONNECT_WAIT,
        pending_size=PENDING,
    )
    exchange = await RequestMux(nc).start()
    try:
        made.append(Connection(nc, exchange))
        yield made[0]
    finally:
        await exchange.stop()
        await close(nc)
