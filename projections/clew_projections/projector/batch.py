"""Advancing views: what some commits of some threads do to the buckets, round by round.

A round reads what is not known of the threads, folds their commits, and writes the views of all of them in one go: the
messages first, so that whoever sees a thread's view at a commit finds that commit's messages there. Who lost a race
takes part in the next round.
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
    """A thread, the commits by which its view is to be advanced, what it will be then, and why not further."""

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
        """Drop what is remembered of the buckets; they are read again."""
        self._known.forget()
        self._doubts.forget()

    async def apply(self, batch: Mapping[Address, Sequence[Delivery]]) -> dict[Address, Fault]:
        """Bring the views of some threads at least up to the latest of their deliveries.

        A thread for which that could not be done is returned with the reason: its history cannot be read or folded, and
        everything before that is written; or a bucket refused something of it, which may be tried again.

        Raises:
            Unavailable: a bucket or the log does not answer.
        """
        faults: dict[Address, Fault] = {}
        left = batch
        known = await self._known.get_views(
            left, new={address for address, some in batch.items() if some[0].after == 0}
        )
        while left:
            known = await self._sure(known, faults)
            lost = await self._write(await self._steps(known, left), faults)
            left = {address: left[address] for address in lost}
            known = await self._known.latest(left) if left else {}
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
            lost = await self._write([await self._caught_up(*each) for each in known.items()], faults)
        for fault in faults.values():
            raise fault

    async def _sure(
        self, known: Mapping[Address, CachedView], faults: dict[Address, Fault]
    ) -> dict[Address, CachedView]:
        """The same, after messages were written again that a server that died may have lost."""
        doubtful: dict[Address, int] = {}
        for address, each in known.items():
            if not each.sure and each.view.seq:
                until = await self._doubts.sure(self._histories.shard(address), each.view.seq)
                if until < each.view.seq:
                    doubtful[address] = until
        if doubtful:
            tails = await asyncio.gather(*(self._tail(*each) for each in doubtful.items()))
            again = {address: commits for address, (commits, _) in zip(doubtful, tails, strict=True)}
            faults.update(await self._write_beside(again))
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
        for address, each in known.items():
            new = sorted((one for one in batch[address] if one.seq > each.view.seq), key=_seq)
            if not new:
                self._known.remember(address, each)
            elif (commits := self._contiguous_commits(address, each.view.seq, new)) is None:
                gaps.append(address)
            else:
                steps.append(_step(address, each, commits))
        return steps + await asyncio.gather(*(self._caught_up(address, known[address]) for address in gaps))

    def _contiguous_commits(self, address: Address, seq: int, new: Sequence[Delivery]) -> list[Recorded] | None:
        """Deliveries as commits, if nothing is missing between ``seq`` and the last of them."""
        shard = self._histories.shard(address)
        commits: list[Recorded] = []
        for each in new:
            if each.after != seq:
                return None
            seq = each.seq
            try:
                commits.append(read(each.stored(), shard))
            except Corrupt:
                return None
        return commits

    async def _caught_up(self, address: Address, known: CachedView) -> _Step:
        # Something has not come this way, or cannot be read: the log has it all.
        return _step(address, known, *await self._tail(address, known.view.seq))

    async def _tail(self, address: Address, seq: int) -> tuple[list[Recorded], Corrupt | None]:
        commits: list[Recorded] = []
        try:
            async for recorded in self._histories.after(address, seq):
                commits.append(recorded)  # noqa: PERF401 - what was read before a fault is wanted
        except Corrupt as fault:
            return commits, fault
        return commits, None

    async def _write(self, steps: Sequence[_Step], faults: dict[Address, Fault]) -> list[Address]:
        """Write what some steps lead to, and return whose race was lost; why others failed goes to ``faults``."""
        moving = [each for each in steps if each.commits]
        failed = await self._write_beside({each.address: each.commits for each in moving})
        whole = [each for each in moving if each.address not in failed]
        writes = [Write(thread_key(each.address), encode(each.view), each.known.revision) for each in whole]
        lost: list[Address] = []
        for step, outcome in zip(whole, await self._threads.put_all(writes), strict=True):
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
        # One of these commits cannot be. What stands before it can.
        known = step.known
        for each in step.commits:
            lost = await self._write([_step(step.address, known, [each])], faults)
            if lost or step.address in faults:
                return lost
            (known,) = (await self._known.get_views([step.address])).values()
        return []

    async def _write_beside(self, commits: Mapping[Address, Sequence[Recorded]]) -> dict[Address, Fault]:
        faults = await self._messages.write(commits)
        await self._spent.write(commits)
        return faults


def _seq(delivery: Delivery) -> int:
    return delivery.seq


def _step(address: Address, known: CachedView, commits: Iterable[Recorded], fault: Corrupt | None = None) -> _Step:
    """Advance a view by commits, as far as they continue it."""
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
