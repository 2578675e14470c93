"""The feed as server-sent events: each commit under its cursor, so that a reader who was cut off goes on after it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final

import msgspec
from msgspec.structs import replace

from clew_events.errors import ClewError, to_fault
from clew_events.queries import GetFeed
from clew_projections.feed import Feed
from clew_projections.feed.cursor import written
from clew_projections.feed.following import Followed, follow
from clew_projections.feed.tail import Tail
from clew_services.answering.feeding import entry
from clew_services.http import errors
from clew_services.http.answers import Answer, Headers
from clew_services.http.fed import fed_object
from clew_services.http.seats import Seated, Seats

MOST: Final = 1000
"""Readers that one process has at a time."""
MOST_OF_A_TENANT: Final = 250
IDLE: Final = 15.0
"""Seconds of quiet after which a reader is told that there is only that: quiet."""
FULL: Final = 5

_HEADERS: Final[Headers] = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
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
        self._seats = Seats()

    async def stream(self, tenant: str, query: GetFeed) -> Answer:
        """An answer that goes on until its reader leaves, or this process stops.

        Raises:
            Invalid: the cursor is of another feed, or a filter means nothing.
            Unavailable: the log does not answer.
        """
        seat = self._seats.take(tenant, most=MOST, most_of_one=MOST_OF_A_TENANT)
        if seat is None:
            return errors.too_many_readers(FULL)
        try:
            # From here on it is settled what "latest" means.
            start = written(await self._feed.start(tenant, query), tenant)
        except BaseException:
            seat.leave()
            raise
        return Answer(200, b"", _HEADERS, Seated(self._chunks(tenant, replace(query, after=start)), seat))

    async def _chunks(self, tenant: str, query: GetFeed) -> AsyncGenerator[bytes]:
        try:
            yield _BEGIN
            async with aclosing(follow(self._feed, self._tail, tenant, query, idle=self._idle)) as following:
                async for some in following:
                    yield b"".join(map(_event, some)) or _QUIET
        except ClewError as fault:
            yield b"event: error\ndata: " + _ENCODE(to_fault(fault)) + b"\n\n"


def _event(followed: Followed) -> bytes:
    shown = _ENCODE(fed_object(entry(followed.fed, followed.id)))
    return b"id: " + followed.id.encode() + b"\nevent: commit\ndata: " + shown + b"\n\n"
