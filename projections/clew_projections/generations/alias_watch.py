"""Following the record of generations, so that a process turns to another generation within milliseconds.

The server says over core NATS that the record has changed, and what it has become is asked of its stream's leader. News
may be missed while a connection is down, so it is read again after a reconnect, and now and then anyway. Nothing goes
wrong meanwhile: a generation that was live stays right to read from, it is only no longer fed.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Final

from nats.aio.client import Client
from nats.aio.msg import Msg
from nats.errors import Error as NatsError

from clew_events.backoff import delays
from clew_events.errors import ClewError
from clew_projections.generations.alias import LIVE_GENERATIONS
from clew_projections.generations.generation import LiveGeneration

ANEW: Final = 30.0
"""Seconds after which the record is read again anyway."""
SPACING: Final = 0.05
"""Seconds between readings however many ask for one."""

_LOG: Final = logging.getLogger("clew.generations")


@contextlib.asynccontextmanager
async def watch_alias(
    nc: Client, live: LiveGeneration, reconnected: list[Callable[[], None]], *, anew: float = ANEW
) -> AsyncIterator[None]:
    """Keep ``live`` at what the record says, for as long as the block lasts.

    What is in ``reconnected`` has to be called after every reconnect of ``nc``.
    """

    async def on_change(_: Msg) -> None:
        live.doubt()

    subscription = await nc.subscribe(f"{LIVE_GENERATIONS}.*", cb=on_change)
    reconnected.append(live.doubt)
    # What happened between the first reading and the subscription was said to nobody.
    live.doubt()
    task = asyncio.create_task(_watch(live, anew))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        reconnected.remove(live.doubt)
        with contextlib.suppress(NatsError):
            await subscription.unsubscribe()


async def _watch(live: LiveGeneration, anew: float) -> None:
    pauses = delays()
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(anew):
                await live.doubted.wait()
        live.doubted.clear()
        before = live.record.live
        try:
            await live.read_again()
        except ClewError as fault:
            _LOG.warning("the record of generations cannot be read, so generation %d is used: %s", before, fault)
            live.doubt()
            await asyncio.sleep(next(pauses))
            continue
        pauses = delays()
        if live.record.live != before:
            _LOG.info("generation %d is live now, after %d", live.record.live, before)
        await asyncio.sleep(SPACING)
