"""A projector's cache of the views of threads that it wrote or read."""

from __future__ import annotations

import logging
from collections.abc import Container, Iterable
from typing import Final

from msgspec import Struct

from clew_events.errors import Corrupt
from clew_events.subjects import Address
from clew_projections.kv.bucket import Bucket, Value
from clew_projections.kv.key_names import thread_key
from clew_projections.lru_cache import LRUCache
from clew_projections.views import StoredView, absent_stored, decode_stored, weight_of

_LOG: Final = logging.getLogger("clew.projector")

REMEMBERED: Final = 1_000_000
"""The most weight of views cached with their revisions, so that a busy thread is not read before each write."""


class CachedView(Struct, frozen=True, gc=False):
    """A view and its revision."""

    view: StoredView
    revision: int


class ViewCache:
    """A cache of the views that a projector used last; other views are read from the bucket."""

    def __init__(self, threads: Bucket) -> None:
        self._threads = threads
        self._remembered = LRUCache[Address, CachedView](REMEMBERED, lambda known: weight_of(known.view))

    def forget(self) -> None:
        """Drop all views."""
        self._remembered.clear()

    def drop(self, addresses: Iterable[Address]) -> None:
        """Drop the views of some threads."""
        for address in addresses:
            self._remembered.drop(address)

    def remember(self, address: Address, known: CachedView) -> None:
        """Cache the view of a thread."""
        self._remembered.put(address, known)

    async def get_views(
        self, addresses: Iterable[Address], *, new: Container[Address] = frozenset()
    ) -> dict[Address, CachedView]:
        """Return views from the cache, or else from any replica; the guard of the next write rejects a stale view.

        Threads that seem to be ``new`` are not read: the guard also rejects a write if one is not new.

        Raises:
            Unavailable: the bucket does not answer.
        """
        known: dict[Address, CachedView] = {}
        missing: list[Address] = []
        for address in addresses:
            if (remembered := self._remembered.get(address)) is not None:
                known[address] = remembered
            elif address in new:
                known[address] = CachedView(absent_stored(*address), 0)
            else:
                missing.append(address)
        if missing:
            values = await self._threads.get_many(map(thread_key, missing))
            known.update((address, _decode_view(address, values.get(thread_key(address)))) for address in missing)
        return known

    async def latest(self, addresses: Iterable[Address]) -> dict[Address, CachedView]:
        """Read the latest views of some threads from the bucket.

        Raises:
            Unavailable: the bucket does not answer.
        """
        wanted = list(addresses)
        values = await self._threads.latest_of(map(thread_key, wanted))
        return {address: _decode_view(address, values.get(thread_key(address))) for address in wanted}


def _decode_view(address: Address, value: Value | None) -> CachedView:
    if value is None:
        return CachedView(absent_stored(*address), 0)
    if not value.body:
        return CachedView(absent_stored(*address), value.revision)
    try:
        return CachedView(decode_stored(value.body), value.revision)
    except Corrupt as fault:
        # The log is the source of truth; an unreadable view is made again from it.
        _LOG.warning("thread %s of tenant %s is projected again: %s", address.thread, address.tenant, fault)
        return CachedView(absent_stored(*address), value.revision)
