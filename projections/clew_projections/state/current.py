"""Current state from views, or from the log alone when there are no views: more expensive, and just as correct."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final, Protocol, TypeVar

from msgspec import UnsetType
from msgspec.structs import replace

from clew_events.errors import Unavailable
from clew_events.subjects import Address
from clew_projections.apply import advance
from clew_projections.history.histories import Histories
from clew_projections.kv.bucket import NO_BUCKET
from clew_projections.places import PAGE
from clew_projections.state.state_reads import CurrentThread, OlderCommandIds, StateReads
from clew_projections.views import ItemView, SpentId, ThreadView, absent, absent_stored


class StateFromLog:
    """Reads current state by folding histories from their first commit."""

    def __init__(self, histories: Histories) -> None:
        self._histories = histories

    @property
    def reading(self) -> StateFromLog:
        """This source: a log without generations is always read from itself."""
        return self

    async def read_cached(self, address: Address) -> CurrentThread:
        """Read a thread at its latest commit."""
        return await self.read_current(address)

    def forget(self, address: Address) -> None:
        """Return: nothing is cached."""

    async def catch_up(self, view: ThreadView) -> ThreadView:
        """Bring a view up to the latest commit."""
        async for recorded in self._histories.after(Address(view.tenant, view.id), view.seq):
            view = advance(view, recorded)
        return view

    async def read_current(self, address: Address) -> CurrentThread:
        """Read a thread at its latest commit."""
        return CurrentThread(await self.catch_up(absent(*address)), self, absent_stored(*address))

    async def items(
        self, current: CurrentThread, ordinals: Sequence[int], *, deleted: bool = False
    ) -> dict[int, ItemView]:
        """Read items by ordinal as of ``current``, deleted ones if asked for; others are left out."""
        thread = current.thread
        wanted = {ordinal for ordinal in ordinals if 1 <= ordinal <= thread.last_ordinal}
        if not wanted:
            return {}
        views = await self._histories.items_at(Address(thread.tenant, thread.id), wanted, thread.n)
        return {ordinal: view for ordinal, view in views.items() if deleted or not view.gone}

    async def count(self, current: CurrentThread, ordinals: range) -> int:
        """Count the items that exist among some ordinals; it reads them."""
        return len(await self.items(current, ordinals))

    async def find_items(self, current: CurrentThread, items: Collection[str]) -> set[int]:
        """Find the ordinals of all items that were added under some ids."""
        thread = current.thread
        return await self._histories.find_items(Address(thread.tenant, thread.id), items, thread.n)

    async def read_older_ids(self, address: Address) -> OlderCommandIds:  # noqa: ARG002 - required by StateReads
        """Return no ids: the log has all of them."""
        return OlderCommandIds(set(), 0)

    async def find_spent(self, address: Address, command_id: str) -> SpentId | None:  # noqa: ARG002 - required by StateReads
        """Return ``None``: the log has all ids."""
        return None


WARNING_INTERVAL: Final = 10.0
"""Seconds between warnings that answers come from the log."""

T = TypeVar("T")
_LOG: Final = logging.getLogger("clew.state")


class LiveReads(Protocol):
    """What names the source of reads at the moment: the live generation, or the log of a pack."""

    @property
    def reading(self) -> StateReads:
        """The source. It may be another at the next request."""


class CurrentState:
    """Reads current state: correct whether its generation is live, was live, or has lost its buckets."""

    def __init__(
        self, live: LiveReads, from_log: StateFromLog, request_refresh: Callable[[], None] = lambda: None
    ) -> None:
        """``request_refresh`` has the record of generations read again: this process may have missed a switch."""
        self._live = live
        self._from_log = from_log
        self._request_refresh = request_refresh
        self._warned_at = -WARNING_INTERVAL

    async def cached_view(self, address: Address) -> ThreadView:
        """Read a thread's view as cheaply as possible; it may lag, and is absent if nothing is stored.

        Raises the errors of ``read_cached``.
        """
        return (await self.read_cached(address)).thread

    async def read_cached(self, address: Address) -> CurrentThread:
        """Read a thread as cheaply as possible, for reading its items next; it may lag.

        Raises:
            Unavailable: neither the buckets nor the log answer.
            Corrupt: there are no buckets, and the thread's history is unreadable.
        """
        return await self._fall_back_to_log(
            self._live.reading.read_cached(address), lambda: self._from_log.read_current(address)
        )

    def forget(self, address: Address) -> None:
        """Drop what is cached of a thread."""
        self._live.reading.forget(address)

    async def catch_up(self, view: ThreadView) -> ThreadView:
        """Bring a view up to the latest commit: one request if it is current already, or one commit short.

        Raises:
            Unavailable: the log does not answer.
            Corrupt: the thread's history is unreadable.
        """
        return await self._fall_back_to_log(self._live.reading.catch_up(view), lambda: self._from_log.catch_up(view))

    async def read_current(self, address: Address) -> CurrentThread:
        """Read a thread at its latest commit. Raises the errors of ``catch_up``."""
        return await self._fall_back_to_log(
            self._live.reading.read_current(address), lambda: self._from_log.read_current(address)
        )

    async def items(
        self, current: CurrentThread, ordinals: Sequence[int], *, deleted: bool = False
    ) -> dict[int, ItemView]:
        """Read items by ordinal as of ``current``, deleted ones if asked for; others are left out."""
        return await self._fall_back_to_log(
            current.source.items(current, ordinals, deleted=deleted),
            lambda: self._from_log.items(current, ordinals, deleted=deleted),
        )

    async def inherited_items(self, address: Address, ordinals: Collection[int], seq: int) -> dict[int, ItemView]:
        """Read what a fork inherits, deleted items too, as it was at its first commit, which stands at a sequence."""
        present = await self.read_current(address)
        forked = present.thread.forked_from
        if isinstance(forked, UnsetType):
            return {}
        thread = replace(present.thread, n=1, seq=seq, cleared=forked.cleared, last_ordinal=forked.ordinal)
        stored = replace(present.stored, n=1, seq=seq, cleared=forked.cleared)
        return await self.items(CurrentThread(thread, present.source, stored), sorted(ordinals), deleted=True)

    async def items_with(self, current: CurrentThread, named: Collection[str]) -> tuple[ItemView, ...]:
        """Read the items with some ids, deleted ones too, oldest first; several if an id was used again."""
        ordinals = await self._fall_back_to_log(
            current.source.find_items(current, named), lambda: self._from_log.find_items(current, named)
        )
        views = await self.items(current, sorted(ordinals), deleted=True) if ordinals else {}
        return tuple(view for _, view in sorted(views.items()) if view.id in named)

    async def item(self, current: CurrentThread, item_id: str) -> ItemView | None:
        """Read an item by id, deleted or not; the latest that had the id, and ``None`` if none ever had."""
        views = await self.items_with(current, (item_id,))
        return views[-1] if views else None

    async def count_until(self, current: CurrentThread, ordinal: int) -> int:
        """Count the items of ``current`` up to an ordinal that exist, in a time that is that of the shorter part."""
        thread = current.thread
        before = range(thread.cleared + 1, ordinal + 1)
        after = range(max(thread.cleared, ordinal) + 1, thread.last_ordinal + 1)
        if thread.messages == len(before) + len(after):
            return len(before)
        shorter = before if len(before) < len(after) else after
        count = await self._fall_back_to_log(
            current.source.count(current, shorter), lambda: self._from_log.count(current, shorter)
        )
        return count if shorter is before else thread.messages - count

    async def newest_item(self, current: CurrentThread) -> ItemView | None:
        """Read the newest item that is not deleted; ``None`` if the thread has none."""
        last, ahead = current.thread.last_ordinal, 1
        while last > current.thread.cleared and current.thread.messages > 0:
            views = await self.items(current, range(max(1, last - ahead + 1), last + 1))
            if views:
                return views[max(views)]
            last, ahead = last - ahead, min(ahead * 16, PAGE)
        return None

    async def read_older_ids(self, address: Address) -> OlderCommandIds:
        """Read what is known about the command ids that a thread's view no longer holds."""
        return await self._fall_back_to_log(
            self._live.reading.read_older_ids(address), lambda: self._from_log.read_older_ids(address)
        )

    async def find_spent(self, address: Address, command_id: str) -> SpentId | None:
        """Return what is stored about a command id outside a thread's view; ``None`` if nothing is."""
        return await self._fall_back_to_log(
            self._live.reading.find_spent(address, command_id), lambda: self._from_log.find_spent(address, command_id)
        )

    async def _fall_back_to_log(self, read: Awaitable[T], from_log: Callable[[], Awaitable[T]]) -> T:
        try:
            return await read
        except Unavailable as fault:
            if fault.code != NO_BUCKET:
                raise
            self._warn(fault)
        self._request_refresh()
        return await from_log()

    def _warn(self, fault: Unavailable) -> None:
        now = time.monotonic()
        if now - self._warned_at >= WARNING_INTERVAL:
            self._warned_at = now
            _LOG.warning("reads fall back to the log, which is correct and slower: %s", fault.message)
