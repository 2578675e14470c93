"""A watch on the record of generations: a process switches to another generation within milliseconds.

The server announces a change of the record over core NATS; the new record is read from its stream's leader. An
announcement may be missed while the connection is down, so the record is read again after a reconnect, and
periodically. A late switch does no harm: reads from the former live generation stay correct, it is only not projected
into any more.
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
"""Seconds after which the record is read again without an announcement."""
SPACING: Final = 0.05
"""Least seconds between two reads of the record."""

logger = logging.getLogger(__name__)


@contextlib.asynccontextmanager
async def watch_alias(
    nc: Client, live: LiveGeneration, reconnected: list[Callable[[], None]], *, anew: float = ANEW
) -> AsyncIterator[None]:
    """Keep ``live`` at the generation that the record names, for the duration of the block.

    The caller must call the functions in ``reconnected`` after every reconnect of ``nc``.
    """

    async def on_change(_: Msg) -> None:
        live.request_refresh()

    subscription = await nc.subscribe(f"{LIVE_GENERATIONS}.*", cb=on_change)
    reconnected.append(live.request_refresh)
    # A change between the first read and the subscription was not announced to this process.
    live.request_refresh()
    task = asyncio.create_task(_watch(live, anew))
    try:
        yield
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        reconnected.remove(live.request_refresh)
        with contextlib.suppress(NatsError):
            await subscription.unsubscribe()


async def _watch(live: LiveGeneration, anew: float) -> None:
    pauses = delays()
    while True:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(anew):
                await live.refresh_requested.wait()
        live.refresh_requested.clear()
        before = live.record.live
        try:
            await live.refresh()
        except ClewError as fault:
            logger.warning("the record of generations is unreadable, so generation %d stays in use: %s", before, fault)
            live.request_refresh()
            await asyncio.sleep(next(pauses))
            continue
        pauses = delays()
        if live.record.live != before:
            logger.info("switched from generation %d to %d", before, live.record.live)
        await asyncio.sleep(SPACING)
