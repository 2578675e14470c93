"""A list of threads as it goes out: :class:`~clew_events.list_reply.ThreadList`, with its threads as JSON already.

The index keeps what is shown of a thread as JSON, so that a list is put together and not made.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec
from msgspec import Raw, Struct

from clew_events.list_reply import Count, Excerpt, Facet, Freshness, ThreadList

_ENCODE: Final = msgspec.json.Encoder().encode
_DECODE: Final = msgspec.json.Decoder(ThreadList).decode


class WrittenList(Struct, frozen=True, kw_only=True):
    """A page of threads. In JSON it is the :class:`ThreadList` that it stands for, byte by byte."""

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
        """The list, for whoever looks into it."""
        return _DECODE(_ENCODE(self))


def with_excerpt(shown: bytes, excerpt: Excerpt) -> Raw:
    """A thread as it is shown, and where a search found it."""
    return Raw(b'%b,"excerpt":%b}' % (shown[:-1], _ENCODE(excerpt)))
