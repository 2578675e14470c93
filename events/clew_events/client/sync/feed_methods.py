"""The feed, as in :mod:`clew_events.client.feed_methods`."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Sequence
from datetime import datetime

from clew_events.client import client
from clew_events.client.sync.background import Background
from clew_events.queries import EventType, Order
from clew_events.replies import Feed, FeedEntry


class Feeds:
    """What happened to all of a tenant's threads; see :class:`clew_events.client.feed_methods.Feeds`."""

    _clew: client.Clew
    _background: Background

    def feed_page(
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
        """A page of commits; ``next`` leads on from it, whether there is more by now or not."""
        return self._background.run(
            self._clew.feed_page(
                after=after,
                limit=limit,
                order=order,
                types=types,
                actor=actor,
                thread_id=thread_id,
                since=since,
                until=until,
            )
        )

    def feed(
        self,
        *,
        after: str | None = None,
        follow: bool = False,
        types: Sequence[EventType] = (),
        actor: str | None = None,
        thread_id: str | None = None,
        since: datetime | int | None = None,
    ) -> Generator[FeedEntry]:
        """Every commit after a cursor, each once; with ``follow`` also those still to come, which are waited for."""
        feed = self._clew.feed(after=after, follow=follow, types=types, actor=actor, thread_id=thread_id, since=since)
        try:
            while (entry := self._background.run(_next(feed))) is not None:
                yield entry
        finally:
            self._background.run(feed.aclose())


async def _next(feed: AsyncGenerator[FeedEntry]) -> FeedEntry | None:
    return await anext(feed, None)
