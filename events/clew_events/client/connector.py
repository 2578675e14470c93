"""A connection that the client owns: opened, kept alive and closed with the ``async with`` block."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from typing import Final

import nats.errors

from clew_events.client.client import Clew
from clew_events.connection import addresses, await_cancellable, close, login
from clew_events.errors import Unavailable
from clew_events.nats_client import LastingClient

PING: Final = 5
"""Seconds between looks at whether the server is still there. The third in vain has another one taken."""
_LOG = logging.getLogger("clew.client")


@contextlib.asynccontextmanager
async def connect(
    servers: str | Sequence[str] = "nats://127.0.0.1:4222",
    *,
    tenant: str = "default",
    actor: str | None = None,
    timeout: float = 10.0,
    inbox_prefix: str = "_INBOX",
) -> AsyncIterator[Clew]:
    """A client on a connection of its own, which is opened now and closed at the end of the block.

    ``servers`` are one or several of one cluster, in a sequence or in one text with commas between them; when one is
    lost, another is taken. A user and password, or a token, go into the URL. For anything more (TLS files, NKeys,
    ``.creds``) connect with nats-py and hand that connection to :class:`Clew`. Replies come to subjects that begin with
    ``inbox_prefix``, for servers where each user may listen only at its own. Once open, the connection is made
    again whenever it is lost, for whatever reason and for as long as that takes; ``timeout`` is what a call waits, in
    seconds, before it gives up.

    Raises:
        Unavailable: no server could be reached within ``timeout`` seconds, or none let us in.
    """
    nc = LastingClient()
    last: list[Exception] = []

    async def note(error: Exception) -> None:
        # Lost connections are made again and calls are repeated, so this is for whoever looks closer.
        last[:] = [error]
        _LOG.info("NATS connection: %s", error)

    urls = addresses(servers)
    try:
        async with asyncio.timeout(timeout):
            connecting = nc.connect(
                urls,
                name=actor or "clew client",
                max_reconnect_attempts=-1,
                ping_interval=PING,
                error_cb=note,
                inbox_prefix=inbox_prefix,
                **login(urls),
            )
            await await_cancellable(connecting)
    except asyncio.CancelledError:
        await close(nc)
        raise
    except (TimeoutError, OSError, nats.errors.Error) as fault:
        await close(nc)
        raise Unavailable(
            f"no NATS server could be reached within {timeout:g} s ({last[-1] if last else fault})",
            code="unreachable",
        ) from fault
    try:
        yield Clew(nc, tenant=tenant, actor=actor, timeout=timeout)
    finally:
        # Not drained: every call has had its answer, and draining waits for readers that may be gone.
        with contextlib.suppress(nats.errors.Error):
            if nc.is_connected:
                await nc.flush()
        await close(nc)
