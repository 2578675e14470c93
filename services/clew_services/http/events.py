"""``/v1/events``: the feed of all of a tenant's commits, page by page or live. For keys with the scope ``audit``."""

from __future__ import annotations

from typing import Final

from clew_events.queries import GetFeed
from clew_services.http.answers import Answer, json_answer
from clew_services.http.bodies import PageOfFeed
from clew_services.http.call import Call
from clew_services.http.fed import feed_page
from clew_services.http.parts import Queries
from clew_services.http.past import TIMES, event_types

_NUMBERS: Final = TIMES | {"limit"}


class Events:
    """What happened, in the order in which the log took it."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    async def feed(self, call: Call) -> Answer:
        """``GET /v1/events``."""
        query = wanted(call.query(PageOfFeed, _NUMBERS, TIMES))
        return json_answer(feed_page(await self._queries.feed(call.holder.tenant, query)))


def wanted(asked: PageOfFeed) -> GetFeed:
    """What a query string asks of the feed.

    Raises:
        Invalid: a type of event that there is not.
    """
    return GetFeed(
        after=asked.after,
        limit=asked.limit,
        order=asked.order,
        types=event_types(asked.type),
        actor=asked.actor,
        thread_id=asked.thread_id,
        since=asked.since,
        until=asked.until,
    )
