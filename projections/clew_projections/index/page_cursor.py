"""Cursors of lists: a place in the order of one query, which stays valid when threads are added or removed."""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Final

import msgspec
from msgspec import Struct

from clew_events.errors import Invalid
from clew_events.list_query import ListThreads

_PREFIX: Final = "page_"
_FORMAT: Final = 2
_CANONICAL: Final = msgspec.json.Encoder(order="deterministic")


class Place(Struct, frozen=True, array_like=True):
    """A thread's place: its time, or its newest match, and its id, which settles ties."""

    key: int
    id: str


class _Cursor(Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    format: int
    question: bytes
    key: int
    id: str


_DECODE: Final = msgspec.msgpack.Decoder(_Cursor).decode
_ENCODE: Final = msgspec.msgpack.Encoder().encode


def fingerprint(query: ListThreads) -> bytes:
    """Return a hash that two queries share exactly if they list the same threads in the same order."""
    asked = ListThreads(where=query.where, search=query.search, order_by=query.ordered_by, order=query.order)
    return hashlib.sha256(_CANONICAL.encode(asked)).digest()[:8]


def encode_place(query: ListThreads, place: Place) -> str:
    """Encode the cursor of a place in the answer to a query."""
    packed = _ENCODE(_Cursor(_FORMAT, fingerprint(query), place.key, place.id))
    return _PREFIX + base64.urlsafe_b64encode(packed).decode().rstrip("=")


def decode_place(query: ListThreads, param: str, text: str) -> Place:
    """Decode the place of a cursor.

    Raises:
        Invalid: it is not a cursor, or one of another query or another version of Clew.
    """
    packed = text.removeprefix(_PREFIX)
    try:
        cursor = _DECODE(base64.b64decode(packed + "=" * (-len(packed) % 4), b"-_", validate=True))
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        raise _refusal(param, "it is no cursor of a list of threads") from None
    if cursor.format != _FORMAT or not -(2**63) <= cursor.key < 2**63:
        raise _refusal(param, "it is the cursor of another version")
    if cursor.question != fingerprint(query):
        raise _refusal(
            param, "it is the cursor of another question: 'where', 'search', 'order_by' and 'order' must stay"
        )
    return Place(cursor.key, cursor.id)


def _refusal(param: str, why: str) -> Invalid:
    return Invalid(
        f"Invalid '{param}': {why}. Take 'next' from an answer to the same question.",
        code="invalid_cursor",
        param=param,
    )
