"""What a process remembers of threads it has seen: a bounded cache that the guard and the tail keep honest."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from clew_events.errors import Corrupt
from clew_events.subjects import Address
from clew_projections.lru_cache import LRUCache
from clew_projections.views import ThreadView


class Memory:
    """The most recently used views, at most ``limit`` of them. A view may be stale; it is never wrong."""

    def __init__(self, limit: int = 20_000) -> None:
        self._views = LRUCache[Address, ThreadView](limit)
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
        return view

    def remember(self, view: ThreadView) -> None:
        """Keep a view, unless a later one of the same thread is kept already. Absent threads are not kept."""
        if view.n == 0:
            return
        address = Address(view.tenant, view.id)
        known = self._views.get(address)
        if known is None or known.n <= view.n:
            self._views.put(address, view)

    def forget(self, address: Address) -> None:
        """Drop what is remembered of a thread."""
        self._views.drop(address)

    def clear(self) -> None:
        """Drop everything."""
        self._views.clear()

    @contextmanager
    def forget_if_corrupt(self, address: Address) -> Iterator[None]:
        """Forget a thread if it turns out corrupt, so that once it is mended it is read anew."""
        try:
            yield
        except Corrupt:
            self.forget(address)
            raise

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
