"""Forks, for the handler: what one is made of, and which of them show what is to be erased."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

from msgspec import Struct, UnsetType
from msgspec.structs import replace

from clew_events.commands import ForkThread
from clew_events.error_texts import name_history, no_thread
from clew_events.events import ForkedFrom, ThreadEvent
from clew_events.subjects import Address
from clew_projections.history.histories import Histories
from clew_projections.history.tenant_histories import TenantHistories
from clew_projections.state.current import CurrentState
from clew_projections.views import ItemView, ThreadView
from clew_services.threads.decide import Descendant, Origin, already_erased, no_item, no_version

AT_ONCE: Final = 16
"""Forks that are read at the same time."""


class _Reach(Struct, frozen=True):
    """What may be shown of what is to be erased: ordinals after one up to another; ``items`` alone, if there are any.

    ``items`` are left out where they were deleted before ``parent`` was forked; ``None`` is all that a thread has.
    """

    parent: Address
    after: int
    last: int
    items: tuple[ItemView, ...] | None

    def narrow(self, forked: ForkedFrom, fork: Address, cleared: int | None) -> _Reach | None:
        """What a fork of the parent shows; ``None`` if nothing. ``cleared`` is of the thread that is erased from."""
        after, last = max(self.after, forked.cleared), min(self.last, forked.ordinal)
        if self.items is None:
            return _Reach(fork, after, last, None) if after < last else None
        there = [item for item in self.items if after < item.ordinal <= last]
        if cleared is not None:
            there = [item for item in there if not item.deleted or item.ordinal <= cleared or item.n > forked.n]
        return _Reach(fork, after, last, tuple(there)) if there else None


class ForkRecords(Protocol):
    """Keeps a record of each fork, by its parent; see :class:`clew_services.erasure.records.ErasureRecords`."""

    async def record_fork(self, parent: Address, fork: str) -> None:
        """Record that a thread is about to be forked from another, unless that is on record."""

    async def forks(self, parent: Address) -> list[str]:
        """The threads that were forked from one, the oldest first, and maybe some that never came to be."""


class Forks:
    """Reads the parents of forks, and the forks of threads."""

    def __init__(
        self, current: CurrentState, histories: Histories, tenants: TenantHistories, records: ForkRecords
    ) -> None:
        self._current = current
        self._histories = histories
        self._tenants = tenants
        self._records = records

    async def origin(self, tenant: str, command: ForkThread) -> Origin:
        """What a fork is made of, read from its parent as it is now, or was at a version.

        Raises:
            NotFound: the parent does not exist or was deleted, or has no such item.
            AlreadyErased: it was erased.
            Invalid: it has no such version.
        """
        present = await self._current.read_current(Address(tenant, command.parent))
        view, at = present.thread, command.at
        if view.status != "open":
            if view.erasure is not None:
                raise already_erased(name_history(command.parent, capital=True), view.erasure)
            raise no_thread(command.parent)
        if isinstance(at, int) and at != view.n:
            if at > view.n:
                raise no_version(at, view.n)
            view = await self._view_at(view, at)
        if not isinstance(at, str):
            return Origin(view, view.last_ordinal, view.messages)
        item = await self._current.item(present, at)
        if item is None or item.gone:
            raise no_item(command.parent, at)
        return Origin(view, item.ordinal, await self._current.count_until(present, item.ordinal))

    async def _view_at(self, view: ThreadView, n: int) -> ThreadView:
        """A thread as it was at an earlier version: from what came since, or else from all that came before."""
        address, back = Address(view.tenant, view.id), view.n - n
        if back >= len(view.commands):
            return await self._histories.thread_at(address, n)
        since = await self._histories.tail(address, view.commands[-1 - back].seq)
        events = [event for recorded in since[:back] for event in recorded.commit.events]
        if any(isinstance(event, ThreadEvent) for event in events):
            return await self._histories.thread_at(address, n)
        added, gone = (sum(event.effect == effect for event in events) for effect in ("creates", "deletes"))
        return replace(
            view,
            n=n,
            seq=view.commands[-1 - back].seq,
            hash=since[0].commit.prev,
            messages=view.messages - added + gone,
            last_ordinal=view.last_ordinal - added,
        )

    async def record(self, tenant: str, parent: str, fork: str) -> None:
        """Put a fork on record that is about to be made."""
        await self._records.record_fork(Address(tenant, parent), fork)

    async def showing(self, view: ThreadView, items: Sequence[ItemView] | None) -> tuple[Descendant, ...]:
        """The threads that were forked from one, or from its forks, and show ``items`` of it, or any; deleted ones too.

        Raises:
            Corrupt: the history of one of them cannot be read.
            Unavailable: JetStream does not answer.
        """
        address = Address(view.tenant, view.id)
        found: list[Descendant] = []
        reaches = [_Reach(address, 0, view.last_ordinal, None if items is None else tuple(items))]
        while reaches:
            reach = reaches.pop()
            cleared = view.cleared if reach.parent == address else None
            names = await self._records.forks(reach.parent)
            for start in range(0, len(names), AT_ONCE):
                batch = [Address(view.tenant, name) for name in names[start : start + AT_ONCE]]
                reads = await asyncio.gather(*map(self._current.read_current, batch))
                for fork in (each.thread for each in reads):
                    forked = fork.forked_from
                    if isinstance(forked, UnsetType) or forked.thread != reach.parent.thread:
                        continue
                    further = reach.narrow(forked, Address(fork.tenant, fork.id), cleared)
                    if further is None:
                        continue
                    reaches.append(further)
                    if fork.status != "erased":
                        found.append(Descendant(fork.id, await self._held_by(fork)))
        return tuple(found)

    async def _held_by(self, fork: ThreadView) -> str | None:
        if fork.holds:
            return f"legal hold '{fork.holds[0]}'"
        standing = await self._tenants.find_holds(fork)
        return f"standing legal hold '{next(iter(standing))}'" if standing else None
