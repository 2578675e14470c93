"""``/v1/events``: the feed of all of a tenant's commits, page by page or live. For keys with the scope ``audit``."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import msgspec
from msgspec.structs import replace

from clew_events.errors import ClewError, Invalid, to_fault
from clew_events.http_forms import PageOfFeed
from clew_events.queries import GetFeed
from clew_projections.feed import Feed
from clew_projections.feed.cursor import encode_cursor
from clew_projections.feed.follow import FollowedCommit, follow
from clew_projections.feed.live_end import Tail
from clew_services.http import error_responses
from clew_services.http.call import Call
from clew_services.http.caller_limits import LimitedStream, StreamLimit
from clew_services.http.commit_objects import feed_commit_object, feed_page
from clew_services.http.responses import Answer, Headers, json_answer
from clew_services.http.routes.audit import event_types
from clew_services.queries.feed_pages import entry
from clew_services.queries.reader import Reader


class Events:
    """What happened, in the order in which the log took it."""

    def __init__(self, queries: Reader, live: Live) -> None:
        self._queries = queries
        self._live = live

    async def feed(self, call: Call) -> Answer:
        """``GET /v1/events``: a page, or with ``stream=true`` or ``Accept: text/event-stream`` all that comes."""
        asked = call.query(PageOfFeed)
        query = feed_query(asked)
        if asked.stream == "true" or b"text/event-stream" in call.headers.get(b"accept", b""):
            check_endless(query)
            last = call.headers.get(b"last-event-id", b"").decode("latin-1")
            return await self._live.stream(call.holder.tenant, replace(query, after=last or query.after))
        return json_answer(feed_page(await self._queries.feed(call.holder.tenant, query)))


def check_endless(query: GetFeed) -> None:
    """Pass if what is asked for can be given as it comes.

    Raises:
        Invalid: it goes backwards, or ends.
    """
    if query.order == "desc":
        raise Invalid("Invalid 'order': what comes live comes in the order in which it comes.", param="order")
    if query.until is not None:
        raise Invalid("Invalid 'until': what comes live has no end. Leave it out, or ask for pages.", param="until")


def feed_query(asked: PageOfFeed) -> GetFeed:
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
        by=asked.by,
        thread_id=asked.thread_id,
        since=asked.since,
        until=asked.until,
    )


MOST: Final = 1000
"""Readers that one process has at a time."""
MOST_OF_A_TENANT: Final = 250
IDLE: Final = 15.0
"""Seconds of quiet after which a reader is told that there is only that: quiet."""
FULL: Final = 5

_HEADERS: Final[Headers] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"x-accel-buffering", b"no"),
)
_BEGIN: Final = b"retry: 1000\n\n"
_QUIET: Final = b": quiet\n\n"
_ENCODE: Final = msgspec.json.Encoder().encode


class Live:
    """Streams the feed to readers, as many as there may be."""

    def __init__(self, feed: Feed, tail: Tail, *, idle: float = IDLE) -> None:
        self._feed = feed
        self._tail = tail
        self._idle = idle
        self._seats = StreamLimit()

    async def stream(self, tenant: str, query: GetFeed) -> Answer:
        """An answer that goes on until its reader leaves, or this process stops.

        Raises:
            Invalid: the cursor is of another feed, or a filter means nothing.
            Unavailable: the log does not answer.
        """
        seat = self._seats.take(tenant, most=MOST, most_of_one=MOST_OF_A_TENANT)
        if seat is None:
            return error_responses.too_many_readers(FULL)
        try:
            # From here on it is settled what "latest" means.
            start = encode_cursor(await self._feed.start(tenant, query), tenant)
        except BaseException:
            seat.leave()
            raise
        return Answer(200, b"", _HEADERS, LimitedStream(self._chunks(tenant, replace(query, after=start)), seat))

    async def _chunks(self, tenant: str, query: GetFeed) -> AsyncGenerator[bytes]:
        try:
            yield _BEGIN
            async with aclosing(follow(self._feed, self._tail, tenant, query, idle=self._idle)) as following:
                async for some in following:
                    yield b"".join(map(_event, some)) or _QUIET
        except ClewError as fault:
            yield b"event: error\ndata: " + _ENCODE(to_fault(fault)) + b"\n\n"


def _event(followed: FollowedCommit) -> bytes:
    shown = _ENCODE(feed_commit_object(entry(followed.fed, followed.id)))
    return b"id: " + followed.id.encode() + b"\nevent: commit\ndata: " + shown + b"\n\n"
