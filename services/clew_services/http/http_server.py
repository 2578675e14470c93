"""The HTTP API served by uvicorn within this process's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Callable, Iterator
from functools import partial
from typing import Final

import uvicorn

from clew_events.errors import Unavailable
from clew_projections.wait import wait_for_event
from clew_services.api_keys import Keys
from clew_services.host import CannotStart, resources
from clew_services.host.ports import refuse_taken, shares_port
from clew_services.http.app import ApiParts, create_app
from clew_services.http.caller_limits import ConnectionLimit
from clew_services.http.middleware import Show
from clew_services.http.protocol import Connection, Patience
from clew_services.http.tls_certificate import Certificate
from clew_services.settings import Settings

GRACE: Final = 15
"""Seconds that requests under way get to finish when the server stops."""
STALL: Final = 1.0
"""Seconds in which a caller has to take something of an answer then, or is cut off."""
BACKLOG: Final = 1024
LOOK: Final = 1.0
"""Seconds at most between two looks after all connections."""

_LOG: Final = logging.getLogger("uvicorn.error")
_PURPOSE: Final = "the HTTP API"
_REMEDY: Final = "Choose another with --http (CLEW_HTTP), or port 0."


async def serve_http(
    clew: ApiParts,
    keys: Keys,
    host: str,
    port: int,
    *,
    settings: Settings | None = None,
    ready: Callable[[str], None] | None = None,
    metrics: Show | None = None,
) -> None:
    """Serve the API on ``host:port`` until cancelled; then finish the requests under way and return.

    That takes :data:`GRACE` seconds, about, and whoever takes nothing of an answer for :data:`STALL` seconds is cut.

    Port 0 takes any that is free. ``ready`` is called once, with the address, when connections are accepted.
    ``metrics`` is what ``/metrics`` shows; without it there is nothing at that path. With ``settings.http_cert`` it
    speaks HTTPS alone, and presents the files' new content to whoever connects after they have changed.

    Raises:
        CannotStart: the port is taken.
        Invalid: the certificate and its key cannot be used.
        Unavailable: the server ended by itself.
    """
    settings = settings or Settings()
    patience = Patience.of(settings.request_seconds)
    ceiling = ConnectionLimit(resources.connections(), settings.max_connections_per_address)
    certificate = Certificate(settings.http_cert, settings.http_key, _PURPOSE) if settings.http_cert else None
    with _listen(host, port) as listener:
        server = _Server(
            uvicorn.Config(
                create_app(clew, keys, settings, metrics),
                http=partial(Connection, patience=patience, ceiling=ceiling),  # type: ignore[arg-type]
                ws="none",
                lifespan="off",
                interface="asgi3",
                log_config=None,
                log_level=logging.ERROR,
                access_log=False,
                proxy_headers=False,
                server_header=False,
                backlog=BACKLOG,
                timeout_graceful_shutdown=GRACE,
                ssl_certfile=settings.http_cert or None,
                ssl_keyfile=settings.http_key or None,
            )
        )
        if certificate is not None:
            server.config.load()
            server.config.ssl = certificate.context
        _LOG.addFilter(_not_given_up)
        serving = asyncio.create_task(server.serve([listener]), name="http")
        looking = asyncio.create_task(_look_after(server, min(LOOK, patience.request / 4), certificate))
        try:
            if ready is not None:
                ready(f"{'https' if certificate else 'http'}://{_bracket(host)}:{listener.getsockname()[1]}")
            await asyncio.shield(serving)
        finally:
            await clew.tail.close()  # what would never end by itself
            server.stop()
            try:
                await _stop(server, serving)
            finally:
                looking.cancel()
    raise Unavailable("the HTTP server ended by itself", code="http_ended")


async def _look_after(server: uvicorn.Server, pause: float, certificate: Certificate | None) -> None:
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(pause)
        if certificate is not None:
            certificate.renew()
        now = loop.time()
        for each in tuple(server.server_state.connections):
            if isinstance(each, Connection):
                each.look(now)


async def _stop(server: uvicorn.Server, serving: asyncio.Task[None]) -> None:
    waiting: dict[Connection, int] = {}
    while (await asyncio.wait({serving}, timeout=STALL))[1]:
        before, waiting = waiting, {}
        for each in tuple(server.server_state.connections):
            if isinstance(each, Connection) and (untaken := each.untaken):
                waiting[each] = untaken
                if before.get(each) == untaken:
                    each.transport.abort()
    if not serving.cancelled() and (fault := serving.exception()) is not None:
        raise fault


class _Server(uvicorn.Server):
    """One that leaves signals to the process it is in, and looks once a second for what uvicorn looks for ten times."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._stopped = asyncio.Event()

    def stop(self) -> None:
        """Take no more connections, and end when the requests that there are have been answered."""
        self.should_exit = True
        self._stopped.set()

    async def main_loop(self) -> None:
        """Go on until it is stopped; each second answers get another date."""
        while not await self.on_tick(0):
            await wait_for_event(self._stopped, 1.0)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


@contextlib.contextmanager
def _listen(host: str, port: int) -> Iterator[socket.socket]:
    """A socket on which connections are accepted from now on, though perhaps answered a little later."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, protocol) as listener:
        if os.name == "posix":
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shares_port():
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        elif port:
            refuse_taken(host, port, purpose=_PURPOSE, remedy=_REMEDY)
        try:
            listener.bind(address)
            listener.listen(BACKLOG)
        except OSError as fault:
            reason = os.strerror(fault.errno or 0)
            raise CannotStart(
                f"cannot listen on {host}:{port} for {_PURPOSE}: {reason}. {_REMEDY}", code="port_taken"
            ) from fault
        yield listener


def _not_given_up(record: logging.LogRecord) -> bool:
    """All that uvicorn logs as an error, but not a traceback for each request that was given up at the end."""
    return record.exc_info is None or not isinstance(record.exc_info[1], asyncio.CancelledError)


def _bracket(host: str) -> str:
    return f"[{host}]" if ":" in host else host
