"""Answers: a status, headers and a body, which is JSON laid out as OpenAI lays it out, two spaces to a level."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Final, NamedTuple

import msgspec

from clew_events.commit import Position

Headers = tuple[tuple[bytes, bytes], ...]

RETRY_AFTER: Final = (b"retry-after", b"1")
"""Seconds after which what is not possible now may be."""

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


def position(text: str) -> tuple[bytes, bytes]:
    """``Clew-Position``: where the log was, as ``at_least`` takes it."""
    return b"clew-position", text.encode()


def stamp(position: Position, n: int, at: datetime) -> Headers:
    """The headers of an answer about the past: the last commit by then, where it stands, and of when it is."""
    time = at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    return (
        etag(n),
        (b"clew-commit", b"%d" % n),
        (b"clew-position", b"%d-%d" % (position.shard, position.seq)),
        (b"clew-time", time.encode()),
    )


def etag(n: int) -> tuple[bytes, bytes]:
    """The ``ETag`` of a thread at version ``n``: the number itself, in quotes."""
    return b"etag", b'"%d"' % n
