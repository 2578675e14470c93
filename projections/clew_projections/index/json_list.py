"""A list of threads ready to send: :class:`~clew_events.list_reply.ThreadList`, with its threads encoded already.

The index stores the listed form of a thread as JSON, so that a list is assembled without encoding.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec
from msgspec import Raw, Struct

from clew_events.list_reply import Count, Excerpt, Facet, Freshness, ThreadList

_ENCODE: Final = msgspec.json.Encoder().encode
_DECODE: Final = msgspec.json.Decoder(ThreadList).decode


class WrittenList(Struct, frozen=True, kw_only=True):
    """A page of threads. Its JSON is that of the corresponding :class:`ThreadList`, byte for byte."""

    object: Literal["list"] = "list"
    data: tuple[Raw, ...]
    first_id: str | None
    last_id: str | None
    has_more: bool
    next: str | None
    fresh: Freshness
    count: Count | None = None
    facets: tuple[Facet, ...] | None = None

    def read(self) -> ThreadList:
        """Decode the list."""
        return _DECODE(_ENCODE(self))


def with_excerpt(shown: bytes, excerpt: Excerpt) -> Raw:
    """Add a search excerpt to a listed thread."""
    return Raw(b'%b,"excerpt":%b}' % (shown[:-1], _ENCODE(excerpt)))
