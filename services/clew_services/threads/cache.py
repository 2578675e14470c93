"""What a process remembers of threads it has seen: a bounded cache that the guard and the tail keep honest."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from clew_events.subjects import Address
from clew_projections.views import ThreadView


class Memory:
    """The most recently used views, at most ``limit`` of them. A view may be stale; it is never wrong."""

    def __init__(self, limit: int = 20_000) -> None:
        self._limit = limit
        self._views: OrderedDict[Address, ThreadView] = OrderedDict()
        self.hits = 0
        """How often a thread that was asked for was remembered, since the start."""
        self.misses = 0
        """How often it was not."""

    def recall(self, address: Address) -> ThreadView | None:
        """The view remembered for a thread, if any."""
        view = self._views.get(address)
        if view is None:
            self.misses += 1
            return None
        self.hits += 1
        self._views.move_to_end(address)
        return view

    def remember(self, view: ThreadView) -> None:
        """Keep a view, unless a later one of the same thread is kept already. Absent threads are not kept."""
        if view.n == 0:
            return
        address = Address(view.tenant, view.id)
        known = self._views.get(address)
        if known is None or known.n <= view.n:
            self._views[address] = view
            self._views.move_to_end(address)
            if len(self._views) > self._limit:
                self._views.popitem(last=False)

    def forget(self, address: Address) -> None:
        """Drop what is remembered of a thread."""
        self._views.pop(address, None)

    def clear(self) -> None:
        """Drop everything."""
        self._views.clear()

    def __len__(self) -> int:
        return len(self._views)


class Turns:
    """One writer at a time for each thread within a process, so that its own commands do not race each other."""

    def __init__(self) -> None:
        self._locks: dict[Address, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def turn(self, address: Address) -> AsyncIterator[None]:
        """Wait for a turn at a thread, and have it until the block ends."""
        lock, users = self._locks.get(address) or (asyncio.Lock(), 0)
        self._locks[address] = lock, users + 1
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks[address]
            if users == 1:
                del self._locks[address]
            else:
                self._locks[address] = lock, users - 1
