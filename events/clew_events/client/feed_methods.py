"""The feed: all of a tenant's commits, from any point on, and on as they happen."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from typing import Final

import msgspec
import nats.errors
from msgspec.structs import replace
from nats.aio.client import Client
from nats.aio.msg import Msg

from clew_events import subjects
from clew_events.backoff import delays
from clew_events.client import decode
from clew_events.client.transport import Requester
from clew_events.errors import Unavailable
from clew_events.queries import EventType, GetFeed, Order
from clew_events.replies import Feed, FeedEntry
from clew_events.subjects import LIVE

PAGE: Final = 500
_ENCODE: Final = msgspec.json.Encoder().encode


class Feeds:
    """What happened to all of a tenant's threads, in the order in which the log took it.

    An entry's ``id`` is where to go on from: keep that of the last one that was dealt with, and give it as ``after``.
    """

    def __init__(self, nc: Client, requester: Requester, *, tenant: str) -> None:
        self._nc = nc
        self._asker = requester
        self._of = tenant

    async def feed_page(
        self,
        *,
        after: str | None = None,
        limit: int = 100,
        order: Order = "asc",
        types: Sequence[EventType] = (),
        actor: str | None = None,
        thread_id: str | None = None,
        since: datetime | int | None = None,
        until: datetime | int | None = None,
    ) -> Feed:
        """A page of commits; ``next`` leads on from it, whether there is more by now or not.

        Raises:
            Invalid: ``after`` is no cursor of this feed, or a filter means nothing.
            Unavailable: no answer in time.
        """
        return await self._page(
            GetFeed(
                after=after,
                limit=limit,
                order=order,
                types=tuple(types),
                actor=actor,
                thread_id=thread_id,
                since=since,
                until=until,
            )
        )

    async def feed(
        self,
        *,
        after: str | None = None,
        follow: bool = False,
        types: Sequence[EventType] = (),
        actor: str | None = None,
        thread_id: str | None = None,
        since: datetime | int | None = None,
    ) -> AsyncGenerator[FeedEntry]:
        """Every commit after a cursor, each once and in the one order; with ``follow`` also those still to come.

        The next page is on its way while one is dealt with. Who follows is told over ``clew.live.evt`` that there is
        something, and then asks for it, so nothing depends on those messages arriving: without any, it looks every few
        seconds. A follower waits for as long as nobody answers. Close it (``contextlib.aclosing``) if you leave it
        early.

        Raises:
            Invalid: ``after`` is no cursor of this feed, or the log is not the one it was given for.
            Unavailable: no answer in time, unless it follows.
        """
        query = GetFeed(after=after, limit=PAGE, types=tuple(types), actor=actor, thread_id=thread_id, since=since)
        if follow:
            async with aclosing(follow_feed(self._nc, self._of, self._page, query)) as entries:
                async for entry in entries:
                    yield entry
            return
        async with aclosing(pages(self._page, query)) as found:
            async for page in found:
                for entry in page.data:
                    yield entry

    async def _page(self, query: GetFeed) -> Feed:
        return await self._asker.ask(subjects.query_subject(self._of, "feed"), _ENCODE(query), decode.feed)


LOOK: Final = 5.0
"""Seconds after which a follower looks for itself, should no word of a commit have come."""

Ask = Callable[[GetFeed], Awaitable[Feed]]


async def follow_feed(
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

    async with _subscribe(nc, f"{LIVE}.evt.*.{tenant}.{query.thread_id or '*'}", told):
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
async def _subscribe(nc: Client, subject: str, told: asyncio.Event) -> AsyncIterator[None]:
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
