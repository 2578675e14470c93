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

from clew_events.errors import ClewError, Invalid, Unauthorized, Unavailable
from clew_events.nats_client import LastingClient, TlsError
from clew_events.nats_security import UNSECURED, NatsSecurity

PING: Final = 5
"""Seconds between pings to the server. After two without an answer, the client connects to another server."""
INBOX_PREFIX: Final = "_INBOX"
_REFUSED: Final = re.compile("authorization violation|authentication (expired|revoked)", re.IGNORECASE)
RECANCEL: Final = 0.1
"""Seconds after which a task that swallowed its cancellation is cancelled again."""

_TELLING: Final = (nats.errors.Error, ssl.SSLError)
_UNKNOWN_AUTHORITY: Final = {18, 19, 20, 21}
"""OpenSSL's codes of a certificate that no authority of those trusted has signed."""

T = TypeVar("T")


class Login(TypedDict, total=False):
    """The credentials that nats-py's ``connect`` takes."""

    user: str
    password: str | Callable[[], str]
    token: str


class ClientOptions(TypedDict, total=False):
    """Options of nats-py's ``connect`` that our connections differ in."""

    disconnected_cb: Callable[[], Awaitable[None]]
    reconnected_cb: Callable[[], Awaitable[None]]
    reconnect_time_wait: float
    pending_size: int


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
    security: NatsSecurity = UNSECURED,
    **options: Unpack[ClientOptions],
) -> None:
    """Connect ``nc`` under a name that is shown to the server's operator. It reconnects without end.

    ``on_error`` is called with every error of the connection. ``timeout`` is in seconds; None waits for ever. If
    connecting fails or is cancelled, ``nc`` is closed. The files of ``security`` are read again whenever it connects.

    Raises:
        Invalid: no server is named, or a file of ``security`` is not what it should be.
        Unauthorized: every server refuses the credentials or the certificate, or requires some, or its own certificate
            is not trusted (``nats_tls``); not raised if ``timeout`` is None.
        Unavailable: no server accepts the connection within ``timeout`` seconds.
    """
    urls = addresses(servers)
    if not urls:
        raise Invalid("no NATS server is given: name one, such as nats://127.0.0.1:4222", code="no_server")
    security.check(urls)
    nc.security = security
    errors: list[Exception] = []
    refusals = 0
    refused = asyncio.Event()

    async def report(error: Exception) -> None:
        # What a server says is more precise than that it then closed the connection.
        if isinstance(error, _TELLING) or not any(isinstance(known, _TELLING) for known in errors):
            errors[:] = [error]
        nonlocal refusals
        refusals += bool(_REFUSED.search(str(error)) or _tls_reason(error))
        if refusals >= len(urls) and timeout is not None:
            refused.set()
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
                tls_handshake_first=security.tls_first,
                **_login(urls, security),
                **options,  # type: ignore[arg-type]  # reconnect_time_wait is an int there, and works with fractions
            )
            await await_cancellable(_unless(refused, connecting))
    except (asyncio.CancelledError, ClewError):
        await close(nc)
        raise
    except (nats.errors.Error, OSError) as fault:  # TimeoutError is an OSError
        await close(nc)
        raise _explain(fault, errors[-1] if errors else fault, urls, security) from fault


def _login(urls: Sequence[str], security: NatsSecurity) -> Login:
    return {"user": security.user, "password": security.password} if security.user else login(urls)


async def _unless(refused: asyncio.Event, connecting: Coroutine[Any, Any, None]) -> None:
    task, refusal = asyncio.create_task(connecting), asyncio.create_task(refused.wait())
    try:
        await asyncio.wait({task, refusal}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise nats.errors.AuthorizationError
        task.result()
    finally:
        refusal.cancel()
        while not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=RECANCEL)


def _explain(fault: Exception, last: Exception, urls: Sequence[str], security: NatsSecurity) -> ClewError:
    where = re.sub("//[^/]*@", "//", ",".join(urls))  # without credentials, as this is printed
    reason = str(last) or "no answer"
    if security.tls_first:  # it may hang up before what it said is read
        reason += ". If it has no handshake_first, leave out tls_first (--nats-tls-first)"
    silent = isinstance(last, TimeoutError | ConnectionResetError) or "expecting INFO" in reason
    if silent and not security.tls_first and security.requires_tls(urls):
        reason += ". If it has handshake_first, say so with tls_first (--nats-tls-first, CLEW_NATS_TLS_FIRST)"
    if tls_reason := _tls_reason(last):
        return Unauthorized(f"no TLS with the NATS server at {where}: {tls_reason}", code="nats_tls")
    if isinstance(fault, nats.errors.AuthorizationError) or _REFUSED.search(reason):
        has_some = security.logs_in or any(urlsplit(url).username for url in urls)
        given = "these credentials" if has_some else "a client without credentials, such as creds, nkey or a user"
        return Unauthorized(f"the NATS server at {where} refuses {given}: {reason}", code="nats_unauthorized")
    return Unavailable(f"no NATS server answers at {where}: {reason}", code="unreachable")


def _tls_reason(fault: Exception) -> str:
    """Why there is no TLS, and will be none without a change; empty if that is not why a connection failed."""
    if isinstance(fault, ssl.SSLCertVerificationError):
        reason = fault.verify_message
        if fault.verify_code in _UNKNOWN_AUTHORITY:
            reason += ": name the certificate of its authority with ca (--nats-ca, CLEW_NATS_CA)"
        return f"its certificate is not trusted: {reason.rstrip('.')}"
    if isinstance(fault, ssl.SSLError) and fault.reason == "WRONG_VERSION_NUMBER":
        return "it speaks before TLS begins: it has no handshake_first, so leave out tls_first (--nats-tls-first)"
    if isinstance(fault, ssl.SSLError) and "ALERT" in str(fault.reason):
        return f"it does not take the client's certificate: {fault.reason.lower().replace('_', ' ')}"
    return str(fault) if isinstance(fault, TlsError) else ""


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
