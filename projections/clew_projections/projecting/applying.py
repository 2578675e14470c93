"""Advancing views: what some of a thread's commits do to the buckets, race by race."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final

from msgspec import Struct

from clew_events.commit import Recorded
from clew_events.errors import Corrupt
from clew_events.subjects import Address
from clew_projections.advancing import advance
from clew_projections.buckets.bucket import Bucket, LostRace, Value, thread_key
from clew_projections.buckets.doubt import Doubts
from clew_projections.buckets.spent import SpentIds
from clew_projections.histories.history import Histories, read
from clew_projections.projecting.deliveries import Delivery
from clew_projections.projecting.message_views import MessageViews
from clew_projections.views import ThreadView, absent, decode_thread, encode

logger = logging.getLogger(__name__)

REMEMBERED: Final = 20_000
"""Views kept with their revisions, so that a busy thread is not read before each write."""


class _Known(Struct, frozen=True):
    """A view and the revision it is kept at; ``sure`` when its messages are known to be there as well."""

    view: ThreadView
    revision: int
    sure: bool = False


class _Found(Struct, frozen=True):
    """Commits as far as they can be read, and why not further."""

    commits: list[Recorded]
    fault: Corrupt | None = None


class Projecting:
    """Applies commits to the views of threads and messages, in the buckets."""

    def __init__(
        self, threads: Bucket, messages: MessageViews, spent: SpentIds, histories: Histories, doubts: Doubts
    ) -> None:
        self._threads = threads
        self._messages = messages
        self._spent = spent
        self._histories = histories
        self._doubts = doubts
        self._known: OrderedDict[Address, _Known] = OrderedDict()

    def forget(self) -> None:
        """Drop what is remembered of the buckets; they are read again."""
        self._known.clear()
        self._doubts.forget()

    async def prepare(self, addresses: Iterable[Address]) -> None:
        """Read in one go what ``apply`` would otherwise read thread by thread."""
        missing = {thread_key(address): address for address in addresses if address not in self._known}
        if missing:
            found = await self._threads.get_many(missing)
            for key, address in missing.items():
                self._remember(address, _known(address, found.get(key)))

    async def apply(self, address: Address, deliveries: Sequence[Delivery]) -> None:
        """Bring the views of a thread at least up to the latest of some deliveries.

        Raises:
            Corrupt: the thread's history cannot be read or folded. Everything before the fault is written.
            Unavailable: a bucket or the log does not answer.
        """
        while True:
            known = await self._sure(address, self._known.get(address) or await self._read(address))
            new = sorted((each for each in deliveries if each.seq > known.view.seq), key=lambda each: each.seq)
            if not new:
                return
            try:
                await self._write(address, known, await self._next(address, known.view, new))
            except LostRace:
                self._known.pop(address, None)
                continue
            return

    async def catch_up(self, address: Address) -> None:
        """Bring the views of a thread up to its latest commit, from the log.

        Raises:
            Corrupt: as for ``apply``.
            Unavailable: as for ``apply``.
        """
        while True:
            known = await self._sure(address, await self._read(address))
            try:
                await self._write(address, known, await self._tail(address, known.view.seq))
            except LostRace:
                continue
            return

    async def _sure(self, address: Address, known: _Known) -> _Known:
        """The same view, after its messages were written again if a server that died may have lost them."""
        if known.sure:
            return known
        sure = await self._doubts.sure(self._histories.shard(address), known.view.seq)
        if sure < known.view.seq:
            await self._write_beside(address, (await self._tail(address, sure)).commits)
        return self._remember(address, _Known(known.view, known.revision, sure=True))

    async def _next(self, address: Address, view: ThreadView, new: Sequence[Delivery]) -> _Found:
        """The commits that follow a view, up to the last delivery at least."""
        if [each.after for each in new] == [view.seq, *(each.seq for each in new[:-1])]:
            shard = self._histories.shard(address)
            try:
                return _Found([read(each.stored(), shard) for each in new])
            except Corrupt:
                pass
        # Something before these, or between them, has not come this way, or cannot be read: the log has it all.
        return await self._tail(address, view.seq)

    async def _tail(self, address: Address, seq: int) -> _Found:
        commits: list[Recorded] = []
        try:
            async for recorded in self._histories.after(address, seq):
                commits.append(recorded)  # noqa: PERF401 - what was read before a fault is wanted
        except Corrupt as fault:
            return _Found(commits, fault)
        return _Found(commits)

    async def _write(self, address: Address, known: _Known, found: _Found) -> None:
        view, fault = known.view, found.fault
        folded: list[Recorded] = []
        for recorded in found.commits:
            try:
                view = advance(view, recorded)
            except Corrupt as broken:
                fault = broken
                break
            folded.append(recorded)
        try:
            known = await self._put(address, known, view, folded)
        except Corrupt:
            # One of these cannot be. What stands before it can.
            for each in folded:
                known = await self._put(address, known, advance(known.view, each), [each])
        if fault is not None:
            raise fault

    async def _put(self, address: Address, known: _Known, view: ThreadView, commits: Sequence[Recorded]) -> _Known:
        if not commits:
            return known
        # The others first: whoever sees the thread's view at a commit finds that commit's messages there.
        await self._write_beside(address, commits)
        revision = await self._threads.put(thread_key(address), encode(view), known.revision)
        return self._remember(address, _Known(view, revision, sure=True))

    async def _write_beside(self, address: Address, commits: Sequence[Recorded]) -> None:
        await self._messages.write(address, commits)
        await self._spent.write(address, commits)

    async def _read(self, address: Address) -> _Known:
        return _known(address, await self._threads.latest(thread_key(address)))

    def _remember(self, address: Address, known: _Known) -> _Known:
        self._known[address] = known
        self._known.move_to_end(address)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)
        return known


def _known(address: Address, value: Value | None) -> _Known:
    if value is None:
        return _Known(absent(*address), 0)
    if not value.body:
        return _Known(absent(*address), value.revision)
    try:
        return _Known(decode_thread(value.body), value.revision)
    except Corrupt as fault:
        # The log is what counts; what cannot be read is made again from it.
        logger.warning("thread %s of tenant %s is projected again: %s", address.thread, address.tenant, fault)
        return _Known(absent(*address), value.revision)
