"""Where NATS is: one server, or several of one cluster, of which any will do."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Sequence
from typing import Any, Final, TypedDict, TypeVar
from urllib.parse import urlsplit

from nats.aio.client import Client


class Login(TypedDict, total=False):
    """How nats-py is told who connects."""

    user: str
    password: str
    token: str


def addresses(servers: str | Sequence[str]) -> list[str]:
    """The URL of each server. In one text they have commas between them."""
    each = servers.split(",") if isinstance(servers, str) else servers
    return [url.strip() for url in each if url.strip()]


def login(servers: Sequence[str]) -> Login:
    """Who connects, if all URLs that say so say the same; else each is for itself.

    Told apart from the URLs, nats-py says it to the servers as well that it learns of from the cluster.
    """
    found = {(parts.username, parts.password) for parts in map(urlsplit, servers) if parts.username is not None}
    if len(found) != 1:
        return {}
    ((name, password),) = found
    assert name is not None
    return {"token": name} if password is None else {"user": name, "password": password}


T = TypeVar("T")

AGAIN: Final = 0.1
"""Seconds after which what goes on although it was cancelled is cancelled again."""


async def await_cancellable(work: Coroutine[Any, Any, T]) -> T:
    """What ``work`` comes to. Whoever cancels this is heard, and ``work`` has ended when this has."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            task.cancel()
            await asyncio.wait({task}, timeout=AGAIN)
        if not task.cancelled():
            task.exception()  # nobody is left to be told
        raise


async def close(nc: Client) -> None:
    """Close a connection. What can no longer be sent is dropped: there is nobody left who waits for its answer.

    nats-py 2.16 tries to send it first, and where the connection was lost raises what became of that, in place of
    whatever had the block end that the connection was for.
    """
    with contextlib.suppress(OSError):
        await nc.close()
