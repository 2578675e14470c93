"""The connection of a process to NATS: it reconnects without end, and reports when it was lost."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Final

from nats.aio.client import Client

from clew_events.connection import INBOX_PREFIX, close, open_client
from clew_events.nats_security import UNSECURED, NatsSecurity
from clew_projections.nats.jetstream import JetStream
from clew_projections.nats.lean_client import LeanClient
from clew_projections.nats.request_mux import RequestMux

RECONNECT_WAIT: Final = 0.25
PENDING: Final = 64 * 1024 * 1024
"""The most bytes that may wait to be sent."""

_LOG: Final = logging.getLogger("clew.nats")


async def flush(nc: Client) -> None:
    """Return when the server has processed everything that was sent on a connection before.

    Two flushes, because nats-py 2.16 sends the PING of a flush ahead of data that waits to be sent. That data is sent
    before the first PONG arrives, so the second PING follows it.

    Raises:
        NatsError: the connection is lost, or the server does not answer.
    """
    await nc.flush()
    await nc.flush()


class Troubles:
    """Logs the errors of a connection, each once until the next reconnect."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._known: set[str] = set()

    async def note(self, fault: Exception) -> None:
        """Log an error, unless it was logged since the last reconnect."""
        text = str(fault) or type(fault).__name__
        if text not in self._known:
            self._known.add(text)
            _LOG.warning("%s: %s", self._name, text)

    async def forget(self) -> None:
        """Log a reconnect; errors are logged again from now on."""
        self._known.clear()
        _LOG.warning("%s: reconnected", self._name)


class Connection:
    """A connection to NATS that reconnects without end.

    ``made`` counts the connections. It rises as soon as a connection is lost, before anything is sent on the next one;
    while it is unchanged, all requests went to the same run of the server. The functions in ``reconnected`` are called
    after each reconnect.
    """

    def __init__(self, nc: LeanClient, exchange: RequestMux) -> None:
        self.nc = nc
        self.exchange = exchange
        self.js = JetStream(exchange)
        self.made = 1
        self.reconnected: list[Callable[[], None]] = []


@asynccontextmanager
async def connection(
    url: str,
    *,
    name: str,
    patience: float = 10.0,
    inbox_prefix: str = INBOX_PREFIX,
    security: NatsSecurity = UNSECURED,
) -> AsyncIterator[Connection]:
    """Connect to NATS under a name that is shown to its operators; flushed and closed at the end of the block.

    ``url`` may be several URLs of one cluster, separated by commas. Each contains the user and password, if needed
    and not in a file that ``security`` names. Replies are sent to subjects that begin with ``inbox_prefix``.

    Raises:
        Invalid: a file of ``security`` is not what it should be.
        Unauthorized: the servers refuse the credentials, or they and this client do not agree on TLS.
        Unavailable: no server answers at ``url`` within ``patience`` seconds.
    """
    made: list[Connection] = []
    troubles = Troubles("nats")

    async def on_error(fault: Exception) -> None:
        await troubles.note(fault)
        for connection in made:
            connection.exchange.fail_denied(str(fault))  # requests that the server does not permit

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
        security=security,
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
