"""The projection of a batch: commits of several threads applied to their views, in rounds.

A round reads the views that are not cached, folds the commits, and writes the views of all threads together: messages
first, so that a reader who sees a thread's view at a commit finds that commit's messages. A thread that lost a race is
retried in the next round.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from msgspec import Struct

from clew_events.commit import Recorded
from clew_events.errors import Corrupt
from clew_events.subjects import Address
from clew_projections.apply import advance
from clew_projections.history.histories import Histories, read
from clew_projections.kv.bucket import Bucket, Fault, LostRace, Write
from clew_projections.kv.command_ids import SpentIds
from clew_projections.kv.key_names import thread_key
from clew_projections.kv.lost_views import Doubts
from clew_projections.projector.message_views import MessageViews
from clew_projections.projector.shard_consumer import Delivery
from clew_projections.projector.view_cache import CachedView, ViewCache
from clew_projections.views import ThreadView, encode


class _Step(Struct, frozen=True):
    """A thread, the commits to apply, the view after them, and the fault that stops it from going further."""

    address: Address
    known: CachedView
    commits: Sequence[Recorded]
    view: ThreadView
    fault: Corrupt | None = None


Apply = Callable[[Mapping[Address, Sequence[Delivery]]], Awaitable[dict[Address, Fault]]]
"""Brings the views of some threads up to their deliveries; see :meth:`BatchProjection.apply`."""


class BatchProjection:
    """Applies commits to the views of threads and messages, in the buckets."""

    def __init__(
        self, threads: Bucket, messages: MessageViews, spent: SpentIds, histories: Histories, doubts: Doubts
    ) -> None:
        self._threads = threads
        self._messages = messages
        self._spent = spent
        self._histories = histories
        self._doubts = doubts
        self._known = ViewCache(threads)

    def forget(self) -> None:
        """Drop all cached views."""
        self._known.forget()
        self._doubts.forget()

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
        while pending:
            known = await self._sure(known, faults)
            lost = await self._write(await self._steps(known, pending), faults)
            pending = {address: pending[address] for address in lost}
            known = await self._known.latest(pending) if pending else {}
        return faults

    async def catch_up(self, address: Address) -> None:
        """Bring the views of a thread up to its latest commit, from the log.

        Raises:
            Corrupt: the thread's history cannot be read or folded. Everything before the fault is written.
            Unavailable: a bucket or the log does not answer.
        """
        faults: dict[Address, Fault] = {}
        lost = [address]
        while lost:
            known = await self._sure(await self._known.latest(lost), faults)
            lost = await self._write([await self._step_from_log(*item) for item in known.items()], faults)
        for fault in faults.values():
            raise fault

    async def _sure(
        self, known: Mapping[Address, CachedView], faults: dict[Address, Fault]
    ) -> dict[Address, CachedView]:
        """Write messages again that a server that died may have lost; return the views without the failed threads."""
        doubtful: dict[Address, int] = {}
        for address, each in known.items():
            if not each.sure and each.view.seq:
                until = await self._doubts.sure(self._histories.shard(address), each.view.seq)
                if until < each.view.seq:
                    doubtful[address] = until
        if doubtful:
            tails = await asyncio.gather(*(self._tail(*each) for each in doubtful.items()))
            again = {address: commits for address, (commits, _) in zip(doubtful, tails, strict=True)}
            faults.update(await self._write_messages(again))
        return {
            address: each if each.sure else CachedView(each.view, each.revision, sure=True)
            for address, each in known.items()
            if address not in faults
        }

    async def _steps(
        self, known: Mapping[Address, CachedView], batch: Mapping[Address, Sequence[Delivery]]
    ) -> list[_Step]:
        steps: list[_Step] = []
        gaps: list[Address] = []
        for address, cached in known.items():
            new = sorted((delivery for delivery in batch[address] if delivery.seq > cached.view.seq), key=_seq)
            if not new:
                self._known.remember(address, cached)
            elif (commits := self._contiguous_commits(address, cached.view.seq, new)) is None:
                gaps.append(address)
            else:
                steps.append(_step(address, cached, commits))
        return steps + await asyncio.gather(*(self._step_from_log(address, known[address]) for address in gaps))

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

    async def _step_from_log(self, address: Address, known: CachedView) -> _Step:
        # A delivery is missing or unreadable: the log has all commits.
        return _step(address, known, *await self._tail(address, known.view.seq))

    async def _tail(self, address: Address, seq: int) -> tuple[list[Recorded], Corrupt | None]:
        commits: list[Recorded] = []
        try:
            async for recorded in self._histories.after(address, seq):
                commits.append(recorded)  # noqa: PERF401 - keeps the commits read before a fault
        except Corrupt as fault:
            return commits, fault
        return commits, None

    async def _write(self, steps: Sequence[_Step], faults: dict[Address, Fault]) -> list[Address]:
        """Write the views of steps; return the threads that lost a race, and add the failed ones to ``faults``."""
        moving = [step for step in steps if step.commits]
        failed = await self._write_messages({step.address: step.commits for step in moving})
        ready = [step for step in moving if step.address not in failed]
        writes = [Write(thread_key(step.address), encode(step.view), step.known.revision) for step in ready]
        lost: list[Address] = []
        for step, outcome in zip(ready, await self._threads.put_all(writes), strict=True):
            if isinstance(outcome, int):
                self._known.remember(step.address, CachedView(step.view, outcome, sure=True))
            elif isinstance(outcome, LostRace):
                lost.append(step.address)
            else:
                failed[step.address] = outcome
        for step in moving:
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
        # One of these commits cannot be written. Those before it can.
        known = step.known
        for recorded in step.commits:
            lost = await self._write([_step(step.address, known, [recorded])], faults)
            if lost or step.address in faults:
                return lost
            (known,) = (await self._known.get_views([step.address])).values()
        return []

    async def _write_messages(self, commits: Mapping[Address, Sequence[Recorded]]) -> dict[Address, Fault]:
        faults = await self._messages.write(commits)
        await self._spent.write(commits)
        return faults


def _seq(delivery: Delivery) -> int:
    return delivery.seq


def _step(address: Address, known: CachedView, commits: Iterable[Recorded], fault: Corrupt | None = None) -> _Step:
    """Advance a view by commits, up to the first that does not continue it."""
    view = known.view
    folded: list[Recorded] = []
    for recorded in commits:
        try:
            view = advance(view, recorded)
        except Corrupt as broken:
            fault = broken
            break
        folded.append(recorded)
    return _Step(address, known, folded, view, fault)
