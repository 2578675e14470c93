"""Responses: a status, headers, and a body, as JSON indented by two spaces like OpenAI's."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec
from starlette.types import Send

from clew_events.commit import Position
from clew_events.errors import Unauthorized, Unavailable
from clew_events.replies import Found

if TYPE_CHECKING:
    from clew_services.http.request_body import Intake

Headers = tuple[tuple[bytes, bytes], ...]

RETRY_AFTER: Final = (b"retry-after", b"1")
"""Seconds after which what is not possible now may be."""

NOT_KEPT: Final[Headers] = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))
"""The headers of every answer of the API: no cache keeps it, and no browser takes it for another type than it says."""

_ENCODER: Final = msgspec.json.Encoder()
_JSON: Final = (b"content-type", b"application/json")


class Answer(NamedTuple):
    """What goes back, before the headers that every answer gets."""

    status: int
    body: bytes
    headers: Headers = ()
    chunks: AsyncIterator[bytes] | None = None
    """What follows, as it comes about: the answer then has no length, and goes on until its reader leaves."""


def json_answer(value: object, status: int = 200, headers: Headers = ()) -> Answer:
    """A value as JSON."""
    return Answer(status, msgspec.json.format(_ENCODER.encode(value), indent=2), (_JSON, *headers))


def position(at: Position) -> tuple[bytes, bytes]:
    """``Clew-Position``: where a commit is in the log, as ``at_least`` takes it."""
    return b"clew-position", b"%d-%d" % (at.shard, at.seq)


def stamp(position: Position, n: int, at: datetime) -> Headers:
    """The headers of an answer about the past: its last commit, where that is in the log, and its time.

    It has no ``ETag``: what was said by then may be erased by a later commit.
    """
    time = at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return (
        (b"clew-commit", b"%d" % n),
        (b"clew-position", b"%d-%d" % (position.shard, position.seq)),
        (b"clew-time", time.encode()),
    )


def etag(n: int) -> tuple[bytes, bytes]:
    """The ``ETag`` of a thread at version ``n``: the number itself, in quotes."""
    return b"etag", b'"%d"' % n


def page_tag(found: Found) -> Headers:
    """The ``ETag`` of a page of a thread, the thread's own; none where items of it may be erased in another thread."""
    return () if found.inherits else (etag(found.n),)


def length(answer: Answer) -> Headers:
    """``Content-Length``, where it is known: in a 304 it would be that of what is not sent (RFC 9110, 8.6)."""
    if answer.chunks is not None or answer.status == 304:
        return ()
    return ((b"content-length", b"%d" % len(answer.body)),)


async def stream_response(
    send: Send,
    intake: Intake,
    chunks: AsyncIterator[bytes],
    headers: Headers,
    *,
    admits: Callable[[], Awaitable[object]],
    hang_up: Callable[[], bool],
) -> None:
    """Send an answer that goes on until ``chunks`` end, the caller leaves, or ``admits`` lets the caller in no more.

    It raises ``Unauthorized`` then, or ``Unavailable`` where it cannot find out. The answer then has no end, which
    would say that it is whole: ``hang_up`` cuts the connection, and returns whether there is one.
    A caller who is slow to take it holds ``chunks`` back, so no more of it is kept than the connection has room for.
    """
    cut = False

    async def sending() -> None:
        nonlocal cut
        async for chunk in chunks:
            try:
                await admits()
            except (Unauthorized, Unavailable):
                cut = True
                return
            await send({"type": "http.response.body", "body": chunk, "more_body": True})

    try:
        await send({"type": "http.response.start", "status": 200, "headers": list(headers)})
        parts = {asyncio.create_task(sending()), asyncio.create_task(intake.left())}
        try:
            done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for part in parts:
                part.cancel()
            await asyncio.gather(*parts, return_exceptions=True)
    finally:
        await close_chunks(chunks)
    for part in done:
        part.result()
    if not cut:
        with contextlib.suppress(OSError, RuntimeError):  # there may be nobody left
            await send({"type": "http.response.body", "body": b""})
    elif hang_up():
        await intake.left()


async def close_chunks(chunks: AsyncIterator[bytes]) -> None:
    """End what was to be sent, whether any of it was or not."""
    if (close := getattr(chunks, "aclose", None)) is not None:
        await close()
