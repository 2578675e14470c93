"""The feed: all commits of a tenant in one order, from any cursor, and new ones as they are made."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import datetime
from typing import Final

import nats.errors
from msgspec.structs import replace
from nats.aio.client import Client
from nats.aio.msg import Msg

from clew_events.backoff import delays
from clew_events.client.transport import Caller
from clew_events.errors import Unavailable
from clew_events.queries import EventType, GetFeed, Order
from clew_events.replies import Feed, FeedEntry
from clew_events.subjects import LIVE

PAGE: Final = 500


class FeedMethods(Caller):
    """Reads the feed: all commits of a tenant, in the order of the log.

    An entry's ``id`` is a cursor: keep that of the last entry you have processed, and continue with it as ``after``.
    """

    async def feed_page(
        self,
        *,
        after: str | None = None,
        limit: int = 100,
        order: Order = "asc",
        types: Sequence[EventType] = (),
        actor: str | None = None,
        by: str | None = None,
        thread_id: str | None = None,
        since: datetime | int | None = None,
        until: datetime | int | None = None,
    ) -> Feed:
        """A page of commits. Its ``next`` is the cursor for the next page, even if that is still empty.

        Raises:
            Invalid: ``after`` is not a cursor of this feed, or a filter is not valid.
            Unavailable: no reply in time.
        """
        return await self._page(
            GetFeed(
                after=after,
                limit=limit,
                order=order,
                types=tuple(types),
                actor=actor,
                by=by,
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
        by: str | None = None,
        thread_id: str | None = None,
        since: datetime | int | None = None,
    ) -> AsyncGenerator[FeedEntry]:
        """Every commit after a cursor, each once and in the order of the log; with ``follow`` also future ones.

        Fetches the next page while you process one. With ``follow`` it never ends: a message on ``clew.live.evt`` makes
        it fetch at once, and without one it polls every 5 s, so no commit is missed if such messages are lost; it
        retries for ever while Clew does not reply. Close it (``contextlib.aclosing``) if you leave it early.

        Raises:
            Invalid: ``after`` is not a cursor of this feed, or belongs to another log.
            Unavailable: no reply in time; with ``follow`` only if the connection is closed.
        """
        query = GetFeed(
            after=after, limit=PAGE, types=tuple(types), actor=actor, by=by, thread_id=thread_id, since=since
        )
        if follow:
            async with aclosing(follow_feed(self.nc, self.tenant, self._page, query)) as entries:
                async for entry in entries:
                    yield entry
            return
        async with aclosing(fetch_pages(self._page, query)) as pages:
            async for page in pages:
                for entry in page.data:
                    yield entry

    async def _page(self, query: GetFeed) -> Feed:
        return await self._ask(query, Feed)


POLL: Final = 5.0
"""Seconds after which a follower asks for new commits although no message has announced one."""

Ask = Callable[[GetFeed], Awaitable[Feed]]


async def follow_feed(
    nc: Client, tenant: str, ask: Ask, query: GetFeed, *, on_silence: Callable[[Unavailable], None] = lambda _: None
) -> AsyncGenerator[FeedEntry]:
    """Every commit that matches ``query``, and future ones. Retries for ever while Clew does not reply.

    ``on_silence`` is called with the error of each attempt that got no reply.

    Raises:
        Invalid: the cursor belongs to another feed or another log, or a filter is not valid.
        Unavailable: the connection is closed.
    """
    announced = asyncio.Event()

    async def retry(query: GetFeed) -> Feed:
        announced.clear()  # before the query: a commit announced from here on may not be in the reply
        for pause in delays(first=0.05):
            try:
                return await ask(query)
            except Unavailable as fault:
                if fault.code == "connection_closed" or nc.is_closed:
                    raise
                on_silence(fault)
            await asyncio.sleep(pause)
        raise AssertionError("delays never end")

    async with _subscribe(nc, f"{LIVE}.evt.*.{tenant}.{query.thread_id or '*'}", announced):
        while True:
            async with aclosing(fetch_pages(retry, query)) as pages:
                async for page in pages:
                    for entry in page.data:
                        yield entry
                    query = replace(query, after=page.next)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(POLL):
                    await announced.wait()


async def fetch_pages(ask: Ask, query: GetFeed) -> AsyncGenerator[Feed]:
    """All pages up to the end of the log. Fetches one page ahead, so close it if you leave it early.

    Raises:
        ClewError: whatever ``ask`` raises.
    """
    request = asyncio.ensure_future(ask(query))
    try:
        while True:
            page = await request
            if page.has_more:
                request = asyncio.ensure_future(ask(replace(query, after=page.next)))
            yield page
            if not page.has_more:
                return
    finally:
        request.cancel()
        await asyncio.gather(request, return_exceptions=True)


@asynccontextmanager
async def _subscribe(nc: Client, subject: str, announced: asyncio.Event) -> AsyncIterator[None]:
    async def announce(_: Msg) -> None:
        announced.set()

    try:
        subscription = await nc.subscribe(subject, cb=announce)
    except nats.errors.Error as fault:
        raise Unavailable(f"the connection is closed: {fault}", code="connection_closed") from fault
    try:
        yield
    finally:
        with contextlib.suppress(nats.errors.Error):
            await subscription.unsubscribe()
