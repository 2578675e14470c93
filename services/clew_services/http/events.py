"""``/v1/events``: the feed of all of a tenant's commits, page by page or live. For keys with the scope ``audit``."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from clew_events.errors import Invalid
from clew_events.queries import GetFeed
from clew_services.http.answers import Answer, json_answer
from clew_services.http.bodies import PageOfFeed
from clew_services.http.call import Call
from clew_services.http.fed import feed_page
from clew_services.http.live import Live
from clew_services.http.parts import Queries
from clew_services.http.past import TIMES, event_types

_NUMBERS: Final = TIMES | {"limit"}


class Events:
    """What happened, in the order in which the log took it."""

    def __init__(self, queries: Queries, live: Live) -> None:
        self._queries = queries
        self._live = live

    async def feed(self, call: Call) -> Answer:
        """``GET /v1/events``: a page, or with ``stream=true`` or ``Accept: text/event-stream`` all that comes."""
        asked = call.query(PageOfFeed, _NUMBERS, TIMES)
        query = wanted(asked)
        if asked.stream == "true" or b"text/event-stream" in call.headers.get(b"accept", b""):
            hold_endless(query)
            last = call.headers.get(b"last-event-id", b"").decode("latin-1")
            return await self._live.stream(call.holder.tenant, replace(query, after=last or query.after))
        return json_answer(feed_page(await self._queries.feed(call.holder.tenant, query)))


def hold_endless(query: GetFeed) -> None:
    """Pass if what is asked for can be given as it comes.

    Raises:
        Invalid: it goes backwards, or ends.
    """
    if query.order == "desc":
        raise Invalid("Invalid 'order': what comes live comes in the order in which it comes.", param="order")
    if query.until is not None:
        raise Invalid("Invalid 'until': what comes live has no end. Leave it out, or ask for pages.", param="until")


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
