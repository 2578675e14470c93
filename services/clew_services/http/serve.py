"""The HTTP API served by granian within this process's event loop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import Callable
from typing import Any, Final

from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels
from granian.server.embed import Server

from clew_events.errors import Unavailable
from clew_services.http.app import create_app
from clew_services.http.edge import Show
from clew_services.http.parts import Parts
from clew_services.keys import Keys
from clew_services.running.ports import refuse_taken, shares_port
from clew_services.settings import Settings

GRACE: Final = 15.0
"""Seconds that requests under way get to finish when the server stops."""
_START_TRIES: Final = 1000

_LOG: Final = logging.getLogger("clew.http")


async def serve_http(
    clew: Parts,
    keys: Keys,
    host: str,
    port: int,
    *,
    settings: Settings | None = None,
    ready: Callable[[str], None] | None = None,
    metrics: Show | None = None,
) -> None:
    """Serve the API on ``host:port`` until cancelled; then finish the requests under way and return.

    Port 0 takes any that is free. ``ready`` is called once, with the address, when connections are accepted.
    ``metrics`` is what ``/metrics`` shows; without it there is nothing at that path.

    Raises:
        CannotStart: the port is taken.
        Unavailable: the server ended by itself.
    """
    # The server shares its port with whoever else listens there instead of refusing, so it is asked for here first.
    if not shares_port():
        refuse_taken(host, port, purpose="the HTTP API", remedy="Choose another with --http (CLEW_HTTP), or port 0.")
    address, port = _free(host, port) if port == 0 or not shares_port() else (_address(host), port)
    server = Server(
        create_app(clew, keys, settings or Settings(), metrics),
        address=address,
        port=port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        websockets=False,
        backlog=1024,
        log_level=LogLevels.error,
        log_dictconfig=_only_levels(),
    )
    serving = asyncio.create_task(server.serve(), name="http")
    try:
        if await _accepting(address, port, serving) and ready is not None:
            ready(f"http://{_bracketed(host)}:{port}")
        await asyncio.shield(serving)
    finally:
        await clew.tail.close()  # what would never end by itself
        await _stopped(server, serving)
    raise Unavailable("the HTTP server ended by itself", code="http_ended")


def _free(host: str, port: int) -> tuple[str, int]:
    """The numeric address of a host, and the port, or a free one for port 0."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        name = probe.getsockname()
        return str(name[0]), int(name[1])


def _address(host: str) -> str:
    return str(socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)[0][4][0])


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _only_levels() -> dict[str, Any]:
    # Left alone, the server would replace the process's logging configuration by its own.
    return {"incremental": True, "formatters": {}, "handlers": {}, "loggers": {}}


async def _accepting(address: str, port: int, serving: asyncio.Task[None]) -> bool:
    """Whether connections are accepted; if not, ``serving`` has ended."""
    for _ in range(_START_TRIES):
        if serving.done():
            return False
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection(address, port)
            writer.close()
            await writer.wait_closed()
            return True
        await asyncio.sleep(0.01)
    raise Unavailable(f"the HTTP server does not accept connections on {address}:{port}", code="http_silent")


async def _stopped(server: Server, serving: asyncio.Task[None]) -> None:
    server.stop()  # type: ignore[no-untyped-call]
    _, late = await asyncio.wait({serving}, timeout=GRACE)
    if late:
        _LOG.warning("requests still under way after %g s are given up", GRACE)
        serving.cancel()
        await asyncio.wait({serving})
    elif not serving.cancelled() and (fault := serving.exception()) is not None:
        raise fault
