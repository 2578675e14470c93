"""Items in a process's memory, as they were last folded from the log.

An item is folded from the commits about it, and what stands at a sequence changes only by an erasure. So an item is
recalled for a reader who knows these sequences from the thread's latest commit: an erasure is a commit of the thread,
and deletes what it erases. Whoever has not asked the log what the latest commit is may not recall anything.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

import msgspec
from msgspec import Struct

from clew_events.subjects import Address
from clew_projections.lru_cache import LRUCache
from clew_projections.views import ItemView

BYTES: Final = 64 * 1024 * 1024
"""The most bytes of remembered items in a process, about."""
THREAD_BYTES: Final = 4 * 1024 * 1024
"""The most bytes of remembered items of one thread, about."""
OVERHEAD: Final = 1250
"""Bytes that an item takes besides its content, rendered and not."""

_ENCODE: Final = msgspec.json.Encoder().encode

Places = Mapping[int, tuple[int, ...]]
"""The sequences of the commits about items, by the items' ordinals."""


class _Item(Struct, frozen=True):
    seqs: tuple[int, ...]
    view: ItemView


class _Thread(Struct, frozen=True):
    items: dict[int, _Item]
    size: int


class ItemMemory:
    """An LRU cache of items. ``lost`` counts the lost connections: it is valid for one connection only."""

    def __init__(self, lost: Callable[[], int]) -> None:
        self._threads = LRUCache[Address, _Thread](BYTES, lambda thread: thread.size)
        self._lost = lost
        self._read_over = lost()
        self._forgotten = 0

    @property
    def moment(self) -> tuple[int, int]:
        """What tells :meth:`remember` whether anything was forgotten since."""
        return self._lost(), self._forgotten

    def recall(self, address: Address, places: Places) -> dict[int, ItemView]:
        """Return items that were folded from exactly these commits; others are left out."""
        if self._read_over != self._lost():
            self._read_over = self._lost()
            self._threads.clear()
        if (thread := self._threads.get(address)) is None:
            return {}
        items = thread.items
        return {
            ordinal: item.view
            for ordinal, seqs in places.items()
            if (item := items.get(ordinal)) is not None and item.seqs == seqs
        }

    def remember(self, address: Address, places: Places, views: Mapping[int, ItemView], read: tuple[int, int]) -> None:
        """Remember items that were read from a ``moment`` on, unless something was forgotten meanwhile."""
        items = {
            ordinal: _Item(seqs, view)
            for ordinal, seqs in places.items()
            if (view := views.get(ordinal)) is not None and not view.gone
        }
        if not items or read != self.moment:
            return
        size = sum(_size(item.view) for item in items.values())
        known = self._threads.get(address)
        if known is not None and known.size + size <= THREAD_BYTES:
            items, size = {**known.items, **items}, known.size + size
        if size <= THREAD_BYTES:
            self._threads.put(address, _Thread(items, size))

    def forget(self, address: Address) -> None:
        """Forget the items of a thread, and those that are being read."""
        self._forgotten += 1
        self._threads.drop(address)


def _size(view: ItemView) -> int:
    return OVERHEAD + len(view.body if view.body is not None else _ENCODE(view.message))
