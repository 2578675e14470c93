"""The cache of thread views in a process, and the turns that serialise its commands on each thread."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from clew_events.subjects import Address
from clew_projections.lru_cache import LRUCache
from clew_projections.views import ThreadView


class Memory:
    """An LRU cache of at most ``limit`` views. A view may be stale, never wrong: guard and tail reveal it."""

    def __init__(self, limit: int = 20_000, clock: Callable[[], float] = time.monotonic) -> None:
        """``clock`` counts seconds."""
        self._views = LRUCache[Address, tuple[ThreadView, float]](limit)
        self._clock = clock
        self.hits = 0
        """Cache hits since the start."""
        self.misses = 0
        """Cache misses since the start."""

    def recall(self, address: Address, within: float | None = None) -> ThreadView | None:
        """The cached view of a thread, if any, and if it was remembered in the last ``within`` seconds."""
        view, since = self._views.get(address) or (None, 0.0)
        if view is None or (within is not None and self._clock() - since > within):
            self.misses += 1
            return None
        self.hits += 1
        return view

    def remember(self, view: ThreadView) -> None:
        """Cache a view, unless a later one of its thread is cached. Absent threads are not cached."""
        if view.n == 0:
            return
        address = Address(view.tenant, view.id)
        known = self._views.get(address)
        if known is None or known[0].n <= view.n:
            self._views.put(address, (view, self._clock()))

    def forget(self, address: Address) -> None:
        """Drop what is remembered of a thread."""
        self._views.drop(address)

    def clear(self) -> None:
        """Drop all views."""
        self._views.clear()

    def __len__(self) -> int:
        return len(self._views)


class Turns:
    """Turns on each thread, in the order of arrival, so that commands within a process do not conflict."""

    def __init__(self) -> None:
        self._waiting: dict[Address, deque[asyncio.Future[None]]] = {}

    async def take(self, address: Address) -> None:
        """Wait for the turn on a thread. Whoever has it must :meth:`pass_on`."""
        waiting = self._waiting.get(address)
        if waiting is None:
            self._waiting[address] = deque()
            return
        turn = asyncio.get_running_loop().create_future()
        waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self.pass_on(address)
            raise

    def pass_on(self, address: Address) -> None:
        """End the turn on a thread."""
        waiting = self._waiting[address]
        while waiting:
            turn = waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        del self._waiting[address]
