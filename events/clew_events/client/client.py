"""The client: all commands and queries of one tenant over one connection."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import AsyncIterator, Sequence

import nats.errors

from clew_events.client.command_methods import CommandMethods
from clew_events.client.feed import FeedMethods
from clew_events.client.query_methods import QueryMethods
from clew_events.client.transport import check_caller
from clew_events.connection import INBOX_PREFIX, close, open_client
from clew_events.nats_client import LastingClient
from clew_events.nats_security import UNSECURED, NatsSecurity

_LOG = logging.getLogger("clew.client")


class Clew(CommandMethods, QueryMethods, FeedMethods):
    """All commands and queries of one tenant, over a nats-py connection that the caller opens and closes.

    ``actor`` is recorded with every command that names none. A call without a reply is repeated for at most
    ``timeout`` seconds. ``trace`` returns the W3C ``traceparent`` to send along, or None; it connects a commit with
    what caused it. Safe for concurrent use by any number of tasks.
    """


@contextlib.asynccontextmanager
async def connect(
    servers: str | Sequence[str] = "nats://127.0.0.1:4222",
    *,
    tenant: str = "default",
    actor: str | None = None,
    timeout: float = 10.0,
    inbox_prefix: str = INBOX_PREFIX,
    security: NatsSecurity | None = None,
) -> AsyncIterator[Clew]:
    """Open a connection and yield a client that uses it; close it at the end of the block.

    ``servers`` is one server or several of one cluster, as a sequence or as a string with commas; when the connection
    to one is lost, the client connects to another, for ever. Credentials go into the URL (user and
    password, or a token), or are files that ``security`` names, as those of TLS are: :class:`NatsSecurity`.
    Replies come to subjects that begin with ``inbox_prefix``, for servers that permit each user only its own.
    ``timeout`` is how many seconds connecting may take, and each call.

    Raises:
        Invalid: there can be no such tenant, no caller may name itself like ``actor``, or a file of ``security`` is not
            what it should be.
        Unauthorized: the servers refuse the credentials, or they and this client do not agree on TLS.
        Unavailable: no server accepts the connection within ``timeout`` seconds.
    """
    check_caller(tenant, actor)
    nc = LastingClient()
    await open_client(
        nc,
        servers,
        name=actor or "clew client",
        timeout=timeout,
        on_error=_log_error,
        inbox_prefix=inbox_prefix,
        security=security or UNSECURED,
    )
    try:
        yield Clew(nc, tenant=tenant, actor=actor, timeout=timeout)
    finally:
        # Not drained: every call has its reply, and draining waits for subscribers that may be gone.
        with contextlib.suppress(nats.errors.Error):
            if nc.is_connected:
                await nc.flush()
        await close(nc)


async def _log_error(error: Exception) -> None:
    # Not a warning: the connection is made again, and calls are repeated.
    _LOG.info("NATS connection: %s", error)
