"""What a projector knows of the views of threads: what it wrote itself, or read."""

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
from clew_projections.views import ThreadView, absent, decode_thread

_LOG: Final = logging.getLogger("clew.projector")

REMEMBERED: Final = 20_000
"""Views kept with their revisions, so that a busy thread is not read before each write."""


class CachedView(Struct, frozen=True):
    """A view and the revision it is kept at; ``sure`` when its messages are known to be there as well."""

    view: ThreadView
    revision: int
    sure: bool = False


class ViewCache:
    """The views that a projector used last, and those it has to read."""

    def __init__(self, threads: Bucket) -> None:
        self._threads = threads
        self._remembered = LRUCache[Address, CachedView](REMEMBERED)

    def forget(self) -> None:
        """Drop everything."""
        self._remembered.clear()

    def drop(self, addresses: Iterable[Address]) -> None:
        """Drop what is remembered of some threads."""
        for address in addresses:
            self._remembered.drop(address)

    def remember(self, address: Address, known: CachedView) -> None:
        """Keep what is known of a thread, as long as there is room."""
        self._remembered.put(address, known)

    async def get_views(
        self, addresses: Iterable[Address], *, new: Container[Address] = frozenset()
    ) -> dict[Address, CachedView]:
        """What is remembered of some threads, or else read from any replica; if it is old, the guard finds out.

        It also finds out if one of those that seem to be ``new`` is not, so nothing is read of them.

        Raises:
            Unavailable: the bucket does not answer.
        """
        known: dict[Address, CachedView] = {}
        missing: list[Address] = []
        for address in addresses:
            if (remembered := self._remembered.get(address)) is not None:
                known[address] = remembered
            elif address in new:
                known[address] = CachedView(absent(*address), 0)
            else:
                missing.append(address)
        if missing:
            found = await self._threads.get_many(map(thread_key, missing))
            known.update((address, _decode_view(address, found.get(thread_key(address)))) for address in missing)
        return known

    async def latest(self, addresses: Iterable[Address]) -> dict[Address, CachedView]:
        """What the bucket has of some threads. Never behind.

        Raises:
            Unavailable: the bucket does not answer.
        """
        wanted = list(addresses)
        found = await self._threads.latest_of(map(thread_key, wanted))
        return {address: _decode_view(address, found.get(thread_key(address))) for address in wanted}


def _decode_view(address: Address, value: Value | None) -> CachedView:
    if value is None:
        return CachedView(absent(*address), 0)
    if not value.body:
        return CachedView(absent(*address), value.revision)
    try:
        return CachedView(decode_thread(value.body), value.revision)
    except Corrupt as fault:
        # The log is what counts; what cannot be read is made again from it.
        _LOG.warning("thread %s of tenant %s is projected again: %s", address.thread, address.tenant, fault)
        return CachedView(absent(*address), value.revision)
