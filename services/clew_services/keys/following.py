"""Following the bucket of keys, so that a process knows of a new or revoked key within milliseconds.

The server says over core NATS which key has changed (the bucket's stream is republished, without its content), and
what it has become is asked of the stream's leader: whoever can only speak can make nobody trust a key. Because such
news may be missed while a connection is down, everything is read again after a reconnect, and now and then anyway.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Final

import nats.errors
from nats.aio.client import Client

from clew_services.keys.follower import Follower
from clew_services.keys.holders import Keys
from clew_services.keys.ring import LIVE_KEYS, KeyRing

ANEW: Final = 30.0
"""Seconds after which everything is read again anyway."""
NOTE: Final = 5.0
"""Seconds between looks at which keys were used."""
LEAVING: Final = 2.0
"""Seconds that recording the last uses may take at the end."""


@contextlib.asynccontextmanager
async def following(
    nc: Client,
    ring: KeyRing,
    keys: Keys,
    reconnected: list[Callable[[], None]],
    *,
    anew: float = ANEW,
    note: float = NOTE,
) -> AsyncIterator[None]:
    """Keep ``keys`` at what the bucket says, for as long as the block lasts, and record there which are used.

    The block begins when everything was read, however long it takes until that can be done. What is in
    ``reconnected`` has to be called after every reconnect of ``nc``.
    """
    follower = Follower(ring, keys, anew)
    subscription = await nc.subscribe(f"{LIVE_KEYS}.*", cb=follower.on_change)
    reconnected.append(follower.on_reconnect)
    try:
        async with asyncio.TaskGroup() as tasks:
            both = (tasks.create_task(follower.follow()), tasks.create_task(follower.note(note)))
            try:
                await follower.caught_up.wait()
                try:
                    yield
                finally:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(LEAVING):
                            await follower.note_used()
            finally:
                for task in both:
                    task.cancel()
    finally:
        reconnected.remove(follower.on_reconnect)
        with contextlib.suppress(nats.errors.Error):
            await subscription.unsubscribe()
