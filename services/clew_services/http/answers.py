"""Answers: a status, headers and a body, which is JSON laid out as OpenAI lays it out, two spaces to a level."""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

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


def json_answer(value: object, status: int = 200, headers: Headers = ()) -> Answer:
    """A value as JSON."""
    return Answer(status, msgspec.json.format(_ENCODER.encode(value), indent=2), (_JSON, *headers))


def etag(n: int) -> tuple[bytes, bytes]:
    """The ``ETag`` of a thread at version ``n``: the number itself, in quotes."""
    return b"etag", b'"%d"' % n
