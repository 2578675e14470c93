"""The feed: all of a tenant's commits, from any point on, and on as they happen."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Final

import msgspec
from nats.aio.client import Client

from clew_events import subjects
from clew_events.client import reading
from clew_events.client.following import followed, pages
from clew_events.client.requesting import Requester
from clew_events.queries import EventType, GetFeed, Order
from clew_events.replies import Feed, FeedEntry

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
            async with aclosing(followed(self._nc, self._of, self._page, query)) as entries:
                async for entry in entries:
                    yield entry
            return
        async with aclosing(pages(self._page, query)) as found:
            async for page in found:
                for entry in page.data:
                    yield entry

    async def _page(self, query: GetFeed) -> Feed:
        return await self._asker.ask(subjects.query_subject(self._of, "feed"), _ENCODE(query), reading.feed)
