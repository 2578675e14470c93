"""Connections to NATS: to one server, or to any of several servers of one cluster."""

from __future__ import annotations

import asyncio
import contextlib
import re
import ssl
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final, TypedDict, TypeVar, Unpack
from urllib.parse import urlsplit

import nats.errors
from nats.aio.client import Client

from clew_events.errors import Unavailable
from clew_events.nats_client import LastingClient

PING: Final = 5
"""Seconds between pings to the server. After two without an answer, the client connects to another server."""
INBOX_PREFIX: Final = "_INBOX"
RECANCEL: Final = 0.1
"""Seconds after which a task that swallowed its cancellation is cancelled again."""

T = TypeVar("T")


class Login(TypedDict, total=False):
    """The credentials that nats-py's ``connect`` takes."""

    user: str
    password: str
    token: str


class ClientOptions(TypedDict, total=False):
    """Options of nats-py's ``connect`` that our connections differ in."""

    disconnected_cb: Callable[[], Awaitable[None]]
    reconnected_cb: Callable[[], Awaitable[None]]
    reconnect_time_wait: float
    pending_size: int
    tls: ssl.SSLContext | None


def addresses(servers: str | Sequence[str]) -> list[str]:
    """The URL of each server. A string has commas between them."""
    urls = servers.split(",") if isinstance(servers, str) else servers
    return [url.strip() for url in urls if url.strip()]


def login(servers: Sequence[str]) -> Login:
    """The credentials in the URLs, if all URLs that have some have the same; otherwise none.

    nats-py uses credentials that are given apart from the URLs also for servers that the cluster announces.
    """
    logins = {(parts.username, parts.password) for parts in map(urlsplit, servers) if parts.username is not None}
    if len(logins) != 1:
        return {}
    ((name, password),) = logins
    assert name is not None
    return {"token": name} if password is None else {"user": name, "password": password}


async def open_client(
    nc: LastingClient,
    servers: str | Sequence[str],
    *,
    name: str,
    timeout: float | None,
    on_error: Callable[[Exception], Awaitable[None]],
    inbox_prefix: str = INBOX_PREFIX,
    **options: Unpack[ClientOptions],
) -> None:
    """Connect ``nc`` under a name that is shown to the server's operator. It reconnects without end.

    ``on_error`` is called with every error of the connection. ``timeout`` is in seconds; None waits for ever. If
    connecting fails or is cancelled, ``nc`` is closed.

    Raises:
        Unavailable: no server accepts the connection within ``timeout`` seconds.
    """
    urls = addresses(servers)
    errors: list[Exception] = []

    async def report(error: Exception) -> None:
        # What a server says is more precise than that it then closed the connection.
        if isinstance(error, nats.errors.Error) or not any(isinstance(known, nats.errors.Error) for known in errors):
            errors[:] = [error]
        await on_error(error)

    try:
        async with asyncio.timeout(timeout):
            connecting = nc.connect(
                urls,
                name=name,
                error_cb=report,
                max_reconnect_attempts=-1,
                ping_interval=PING,
                inbox_prefix=inbox_prefix,
                **login(urls),
                **options,  # type: ignore[arg-type]  # reconnect_time_wait is an int there, and works with fractions
            )
            await await_cancellable(connecting)
    except asyncio.CancelledError:
        await close(nc)
        raise
    except (nats.errors.Error, OSError) as fault:  # TimeoutError is an OSError
        await close(nc)
        where = re.sub("//[^/]*@", "//", ",".join(urls))  # without credentials, as this is printed
        reason = str(errors[-1] if errors else fault) or "no answer"
        raise Unavailable(f"no NATS server answers at {where}: {reason}", code="unreachable") from fault


async def await_cancellable(work: Coroutine[Any, Any, T]) -> T:
    """Return or raise what ``work`` does. A cancellation always takes effect, and only after ``work`` has ended."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=RECANCEL)
        if not task.cancelled():
            task.exception()  # marks it as retrieved
        raise


async def close(nc: Client) -> None:
    """Close a connection. Unsent data is dropped, because no caller waits for its reply.

    nats-py 2.16 tries to send it first, and raises if the connection was lost, which would replace the error that the
    caller is handling.
    """
    with contextlib.suppress(OSError):
        await nc.close()
