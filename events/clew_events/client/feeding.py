"""The feed: all of a tenant's commits, from any point on, and on as they happen."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final

import msgspec
import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from clew_events import subjects
from clew_events.backoff import delays
from clew_events.client import reading
from clew_events.client.requesting import Requester
from clew_events.errors import Unavailable
from clew_events.queries import EventType, GetFeed, Order
from clew_events.replies import Feed, FeedEntry

PAGE: Final = 500
LOOK: Final = 5.0
"""Seconds after which a follower looks for itself, should no word of a commit have come."""
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
        query = GetFeed(
            after=after,
            limit=limit,
            order=order,
            types=tuple(types),
            actor=actor,
            thread_id=thread_id,
            since=since,
            until=until,
        )
        return await self._asker.ask(subjects.query_subject(self._of, "feed"), _ENCODE(query), reading.feed)

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

        Who follows is told over ``clew.live.evt`` that there is something, and then asks for it, so nothing depends on
        those messages arriving: without any, it looks every few seconds. A follower waits for as long as nobody
        answers. Close it (``contextlib.aclosing``) if you leave it early.

        Raises:
            Invalid: ``after`` is no cursor of this feed, or the log is not the one it was given for.
            Unavailable: no answer in time, unless it follows.
        """
        told = asyncio.Event()
        pauses = delays(first=0.05)
        async with self._told(told) if follow else contextlib.nullcontext():
            while True:
                told.clear()
                try:
                    page = await self.feed_page(
                        after=after, limit=PAGE, types=types, actor=actor, thread_id=thread_id, since=since
                    )
                except Unavailable as silence:
                    if not follow or silence.code == "connection_closed":
                        raise
                    await asyncio.sleep(next(pauses))
                    continue
                pauses = delays(first=0.05)
                for entry in page.data:
                    yield entry
                after = page.next
                if page.has_more:
                    continue
                if not follow:
                    return
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LOOK):
                        await told.wait()

    @asynccontextmanager
    async def _told(self, told: asyncio.Event) -> AsyncIterator[None]:
        async def tell(_: Msg) -> None:
            told.set()

        subject = f"{subjects.LIVE}.evt.*.{self._of}.*"
        try:
            subscription = await self._nc.subscribe(subject, cb=tell)
        except nats.errors.Error as fault:
            raise Unavailable(f"the connection is closed: {fault}", code="connection_closed") from fault
        try:
            yield
        finally:
            with contextlib.suppress(nats.errors.Error):
                await subscription.unsubscribe()
