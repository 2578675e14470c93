"""The projection of a batch: commits of several threads applied to their views, in rounds.

A round reads the views that are not cached, folds the commits, and writes the views of all threads together, after the
full pages of places that they name. A thread that lost a race is retried in the next round.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from msgspec import Struct

from clew_events.commit import Recorded
from clew_events.errors import Corrupt
from clew_events.subjects import Address
from clew_projections.apply import advance_stored, older_pages
from clew_projections.history.histories import Histories, read
from clew_projections.kv.bucket import Bucket, Fault, LostRace, Write
from clew_projections.kv.command_ids import SpentIds
from clew_projections.kv.key_names import thread_key
from clew_projections.places import Places
from clew_projections.projector.page_store import PageStore
from clew_projections.projector.shard_consumer import Delivery
from clew_projections.projector.view_cache import CachedView, ViewCache
from clew_projections.views import StoredView, encode


class _Tail(NamedTuple):
    """A thread, the commits after its view, and the fault that stops it from going further."""

    address: Address
    known: CachedView
    commits: Sequence[Recorded]
    fault: Corrupt | None = None


class _Step(Struct, frozen=True, gc=False):
    """A thread, the commits to apply, the view and the full pages after them, and the fault of :class:`_Tail`."""

    address: Address
    known: CachedView
    commits: Sequence[Recorded]
    view: StoredView
    pages: Mapping[int, Places]
    fault: Corrupt | None = None


Apply = Callable[[Mapping[Address, Sequence[Delivery]]], Awaitable[dict[Address, Fault]]]
"""Brings the views of some threads up to their deliveries; see :meth:`BatchProjection.apply`."""


class BatchProjection:
    """Applies commits to the views of threads, in the buckets."""

    def __init__(self, threads: Bucket, spent: SpentIds, histories: Histories) -> None:
        self._threads = threads
        self._pages = PageStore(threads, histories)
        self._spent = spent
        self._histories = histories
        self._known = ViewCache(threads)

    def forget(self) -> None:
        """Drop all cached views."""
        self._known.forget()

    async def apply(self, batch: Mapping[Address, Sequence[Delivery]]) -> dict[Address, Fault]:
        """Bring the views of threads at least up to the latest of their deliveries.

        Returns the threads that failed with the reason: the history cannot be read or folded (everything before the
        fault is written), or a bucket refused a write, which may be retried.

        Raises:
            Unavailable: a bucket or the log does not answer.
        """
        faults: dict[Address, Fault] = {}
        pending = batch
        known = await self._known.get_views(
            pending, new={address for address, deliveries in batch.items() if deliveries[0].after == 0}
        )
        await self._write_repeated_ids(known, batch)
        while pending:
            lost = await self._write(await self._steps(known, pending), faults)
            pending = {address: pending[address] for address in lost}
            known = await self._known.latest(pending) if pending else {}
        return faults

    async def catch_up(self, address: Address) -> None:
        """Bring the view of a thread up to its latest commit, from the log.

        Raises:
            Corrupt: the thread's history cannot be read or folded. Everything before the fault is written.
            Unavailable: a bucket or the log does not answer.
        """
        faults: dict[Address, Fault] = {}
        lost = [address]
        while lost:
            known = await self._known.latest(lost)
            tails = [await self._tail_from_log(*item) for item in known.items()]
            lost = await self._write(await self._fold(tails), faults)
        for fault in faults.values():
            raise fault

    async def _write_repeated_ids(
        self, known: Mapping[Address, CachedView], batch: Mapping[Address, Sequence[Delivery]]
    ) -> None:
        """Write the command ids of commits that views contain already: a server that died may have lost these ids."""
        repeated: dict[Address, list[Recorded]] = {}
        for address, cached in known.items():
            seq = cached.view.seq
            for delivery in batch[address] if seq else ():
                if delivery.seq <= seq:
                    with suppress(Corrupt):
                        shard = self._histories.shard(address)
                        repeated.setdefault(address, []).append(read(delivery.stored(), shard))
        if repeated:
            await self._spent.write(repeated)

    async def _steps(
        self, known: Mapping[Address, CachedView], batch: Mapping[Address, Sequence[Delivery]]
    ) -> list[_Step]:
        tails: list[_Tail] = []
        gaps: list[Address] = []
        for address, cached in known.items():
            seq = cached.view.seq
            new = sorted([delivery for delivery in batch[address] if delivery.seq > seq], key=_seq)
            if not new:
                self._known.remember(address, cached)
            elif (commits := self._contiguous_commits(address, seq, new)) is None:
                gaps.append(address)
            else:
                tails.append(_Tail(address, cached, commits))
        if gaps:
            tails += await asyncio.gather(*(self._tail_from_log(address, known[address]) for address in gaps))
        return await self._fold(tails)

    def _contiguous_commits(self, address: Address, seq: int, new: Sequence[Delivery]) -> list[Recorded] | None:
        """Decode deliveries; ``None`` if a commit between ``seq`` and the last of them is missing or unreadable."""
        shard = self._histories.shard(address)
        commits: list[Recorded] = []
        for delivery in new:
            if delivery.after != seq:
                return None
            seq = delivery.seq
            try:
                commits.append(read(delivery.stored(), shard))
            except Corrupt:
                return None
        return commits

    async def _tail_from_log(self, address: Address, known: CachedView) -> _Tail:
        # A delivery is missing or unreadable: the log has all commits.
        commits: list[Recorded] = []
        try:
            async for recorded in self._histories.after(address, known.view.seq):
                commits.append(recorded)  # noqa: PERF401 - keeps the commits read before a fault
        except Corrupt as fault:
            return _Tail(address, known, commits, fault)
        return _Tail(address, known, commits)

    async def _fold(self, tails: Sequence[_Tail]) -> list[_Step]:
        """Advance views by the commits after them, with the full pages that these change."""
        needed = [older_pages(tail.known.view, tail.commits) for tail in tails]
        return [
            await self._fold_with_pages(tail, numbers) if numbers else _step(tail, {})
            for tail, numbers in zip(tails, needed, strict=True)
        ]

    async def _fold_with_pages(self, tail: _Tail, numbers: set[int]) -> _Step:
        try:
            return _step(tail, dict(await self._pages.load(tail.address, tail.known.view, numbers)))
        except Corrupt as fault:
            return _Step(tail.address, tail.known, (), tail.known.view, {}, fault)

    async def _write(self, steps: Sequence[_Step], faults: dict[Address, Fault]) -> list[Address]:
        """Write the views of steps; return the threads that lost a race, and add the failed ones to ``faults``."""
        moving = [step for step in steps if step.commits]
        await self._spent.write({step.address: step.commits for step in moving})
        failed = await self._pages.write({step.address: step.pages for step in moving if step.pages})
        ready = [step for step in moving if step.address not in failed]
        writes = [Write(thread_key(step.address), encode(step.view), step.known.revision) for step in ready]
        lost: list[Address] = []
        for step, outcome in zip(ready, await self._threads.put_all(writes), strict=True):
            if isinstance(outcome, int):
                self._known.remember(step.address, CachedView(step.view, outcome))
            elif isinstance(outcome, LostRace):
                lost.append(step.address)
            else:
                failed[step.address] = outcome
        for step in moving if failed else ():
            if isinstance(failed.get(step.address), Corrupt) and len(step.commits) > 1:
                del failed[step.address]
                lost += await self._write_singly(step, failed)
        for step in steps:
            if step.fault is not None and step.address not in lost:
                failed.setdefault(step.address, step.fault)
        self._known.drop((*lost, *failed))
        faults.update(failed)
        return lost

    async def _write_singly(self, step: _Step, faults: dict[Address, Fault]) -> list[Address]:
        # The view after one of these commits cannot be written. Those before it can.
        known = step.known
        for recorded in step.commits:
            lost = await self._write(await self._fold([_Tail(step.address, known, [recorded])]), faults)
            if lost or step.address in faults:
                return lost
            (known,) = (await self._known.get_views([step.address])).values()
        return []


def _seq(delivery: Delivery) -> int:
    return delivery.seq


def _step(tail: _Tail, loaded: dict[int, Places]) -> _Step:
    """Advance a view by commits, up to the first that does not continue it."""
    view, pages, fault = tail.known.view, loaded, tail.fault
    folded: list[Recorded] = []
    for recorded in tail.commits:
        try:
            view, pages = advance_stored(view, pages, recorded)
        except Corrupt as broken:
            fault = broken
            break
        folded.append(recorded)
    changed = {number: page for number, page in pages.items() if loaded.get(number) is not page}
    return _Step(tail.address, tail.known, folded, view, changed, fault)
