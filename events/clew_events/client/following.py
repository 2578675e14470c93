"""Reading on in the feed: page after page, each asked for while the one before is dealt with, and on to the live end.

Whoever follows is told over core NATS that there is something, and then asks for it. Nothing depends on that word
arriving: without any, one looks every few seconds. So nothing is missed and nothing comes twice, whatever is lost.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Final

import nats.errors
from msgspec.structs import replace
from nats.aio.client import Client
from nats.aio.msg import Msg

from clew_events.backoff import delays
from clew_events.errors import Unavailable
from clew_events.queries import GetFeed
from clew_events.replies import Feed, FeedEntry
from clew_events.subjects import LIVE

LOOK: Final = 5.0
"""Seconds after which a follower looks for itself, should no word of a commit have come."""

Ask = Callable[[GetFeed], Awaitable[Feed]]


async def followed(
    nc: Client, tenant: str, ask: Ask, query: GetFeed, *, waiting: Callable[[Unavailable], None] = lambda _: None
) -> AsyncGenerator[FeedEntry]:
    """Every commit that ``query`` wants, those still to come included, for as long as it takes while nobody answers.

    ``waiting`` is told each time that nobody did.

    Raises:
        Invalid: the cursor is of another feed or another log, or a filter means nothing.
        Unavailable: the connection is closed.
    """
    told = asyncio.Event()

    async def patiently(query: GetFeed) -> Feed:
        told.clear()  # before asking: what is told from here on may not be in the answer
        for pause in delays(first=0.05):
            try:
                return await ask(query)
            except Unavailable as silence:
                if silence.code == "connection_closed" or nc.is_closed:
                    raise
                waiting(silence)
            await asyncio.sleep(pause)
        raise AssertionError("delays never end")

    async with _told(nc, f"{LIVE}.evt.*.{tenant}.{query.thread_id or '*'}", told):
        while True:
            async with aclosing(pages(patiently, query)) as found:
                async for page in found:
                    for entry in page.data:
                        yield entry
                    query = replace(query, after=page.next)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK):
                    await told.wait()


async def pages(ask: Ask, query: GetFeed) -> AsyncGenerator[Feed]:
    """Page after page, to the end of the log. Close it, as the next page is on its way while one is dealt with.

    Raises:
        ClewError: whatever ``ask`` raises.
    """
    coming = asyncio.ensure_future(ask(query))
    try:
        while True:
            page = await coming
            if page.has_more:
                coming = asyncio.ensure_future(ask(replace(query, after=page.next)))
            yield page
            if not page.has_more:
                return
    finally:
        coming.cancel()
        await asyncio.gather(coming, return_exceptions=True)


@asynccontextmanager
async def _told(nc: Client, subject: str, told: asyncio.Event) -> AsyncIterator[None]:
    async def tell(_: Msg) -> None:
        told.set()

    try:
        subscription = await nc.subscribe(subject, cb=tell)
    except nats.errors.Error as fault:
        raise Unavailable(f"the connection is closed: {fault}", code="connection_closed") from fault
    try:
        yield
    finally:
        with contextlib.suppress(nats.errors.Error):
            await subscription.unsubscribe()
