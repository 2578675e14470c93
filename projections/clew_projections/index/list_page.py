"""A page of a list: its JSON, with threads encoded already, and its cursor.

The index stores the listed form of a thread as JSON, so a page is assembled without encoding. A cursor is a place in
the order of one query; it stays valid when threads are added or removed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from typing import Final, Literal

import msgspec
from msgspec import Raw, Struct

from clew_events.errors import Invalid
from clew_events.list_query import ListThreads
from clew_events.list_reply import Count, Excerpt, Facet, FirstText, Freshness, ThreadList
from clew_projections.api_objects import NO_RESOURCES, RETRIEVED_NO_RESOURCES

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
    kind, where, search = query.kind, query.where, query.search
    asked = ListThreads(kind=kind, where=where, search=search, order_by=query.ordered_by, order=query.order)
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


_ENCODE_LIST: Final = msgspec.json.Encoder().encode
_DECODE_LIST: Final = msgspec.json.Decoder(ThreadList).decode


class WrittenList(Struct, frozen=True, kw_only=True):
    """A page of threads. Its JSON is that of the corresponding :class:`ThreadList`, byte for byte."""

    object: Literal["list"] = "list"
    data: tuple[Raw, ...]
    first_id: str | None
    last_id: str | None
    has_more: bool
    next: str | None
    previous: str | None
    fresh: Freshness
    count: Count | None = None
    facets: tuple[Facet, ...] | None = None
    actors: tuple[Facet, ...] | None = None

    def read(self) -> ThreadList:
        """Decode the list."""
        return _DECODE_LIST(_ENCODE_LIST(self))


def listed_thread(stored: bytes) -> bytes:
    """Return the stored JSON of a listed thread as queries answer it; see ``retrieved_thread``."""
    return stored.replace(_STORED, _SHOWN)


# A comma before the key, and an object after it, are in no string, and metadata has no objects.
_STORED, _SHOWN = (
    b',"tool_resources":%b,' % _ENCODE_LIST(resources) for resources in (NO_RESOURCES, RETRIEVED_NO_RESOURCES)
)


def with_texts(shown: bytes, excerpt: Excerpt | None, first_text: FirstText | None) -> Raw:
    """Add a search excerpt, and how it begins, to a listed thread."""
    if excerpt is not None:
        shown = b'%b,"excerpt":%b}' % (shown[:-1], _ENCODE_LIST(excerpt))
    if first_text is not None:
        shown = b'%b,"first_text":%b}' % (shown[:-1], _ENCODE_LIST(first_text))
    return Raw(shown)
