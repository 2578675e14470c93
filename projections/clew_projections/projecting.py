"""Advancing views: what some of a thread's commits do to the buckets, race by race."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Final

from clew_events.commit import Recorded
from clew_events.errors import Corrupt
from clew_events.subjects import Address
from clew_projections.buckets import Bucket, LostRace, Value, thread_key
from clew_projections.deliveries import Delivery
from clew_projections.history import Histories, read
from clew_projections.message_views import MessageViews
from clew_projections.views import ThreadView, absent, advance, decode_thread, encode

REMEMBERED: Final = 20_000
"""Views kept with their revisions, so that a busy thread is not read before each write."""


class Projecting:
    """Applies commits to the views of threads and messages, in the buckets."""

    def __init__(self, threads: Bucket, messages: MessageViews, histories: Histories) -> None:
        self._threads = threads
        self._messages = messages
        self._histories = histories
        self._known: OrderedDict[Address, tuple[ThreadView, int]] = OrderedDict()

    def forget(self) -> None:
        """Drop what is remembered of the buckets; they are read again."""
        self._known.clear()

    async def prepare(self, addresses: Iterable[Address]) -> None:
        """Read in one go what ``apply`` would otherwise read thread by thread."""
        missing = {thread_key(address): address for address in addresses if address not in self._known}
        if missing:
            found = await self._threads.get_many(missing)
            for key, address in missing.items():
                self._remember(address, *_view(address, found.get(key)))

    async def apply(self, address: Address, deliveries: Sequence[Delivery], again_until: int = 0) -> None:
        """Bring the views of a thread at least up to the latest of some deliveries.

        Deliveries up to sequence ``again_until`` are given again because views may have been lost: their messages are
        written even where the thread's view holds them already.

        Raises:
            Corrupt: the thread's history cannot be read or folded. Nothing beyond the fault is written.
            Unavailable: a bucket or the log does not answer.
        """
        shard = self._histories.shard(address)
        while True:
            known = self._known.get(address) or await self._read(address)
            view, _ = known
            again = [each for each in deliveries if each.seq <= min(view.seq, again_until)]
            if again:
                await self._messages.write(address, [read(each.stored(), shard) for each in again])
            new = sorted((each for each in deliveries if each.seq > view.seq), key=lambda each: each.seq)
            if not new:
                return
            try:
                await self._write(address, known, await self._next(address, view, new))
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
            known = await self._read(address)
            try:
                await self._write(address, known, await self._histories.tail(address, known[0].seq))
            except LostRace:
                continue
            return

    async def _next(self, address: Address, view: ThreadView, new: Sequence[Delivery]) -> list[Recorded]:
        """The commits that follow a view, up to the last delivery at least."""
        shard = self._histories.shard(address)
        commits = [read(each.stored(), shard) for each in new]
        if [each.commit.n for each in commits] == list(range(view.n + 1, view.n + 1 + len(commits))):
            return commits
        # Something before these, or between them, has not come this way: the log has it.
        return await self._histories.tail(address, view.seq)

    async def _write(self, address: Address, known: tuple[ThreadView, int], commits: Sequence[Recorded]) -> None:
        view, revision = known
        folded: list[Recorded] = []
        fault: Corrupt | None = None
        for recorded in commits:
            try:
                view = advance(view, recorded)
            except Corrupt as broken:
                fault = broken
                break
            folded.append(recorded)
        if folded:
            # Messages first: whoever sees the thread's view at a commit finds that commit's messages there.
            await self._messages.write(address, folded)
            self._remember(address, view, await self._threads.put(thread_key(address), encode(view), revision))
        if fault is not None:
            raise fault

    async def _read(self, address: Address) -> tuple[ThreadView, int]:
        return _view(address, await self._threads.get(thread_key(address)))

    def _remember(self, address: Address, view: ThreadView, revision: int) -> None:
        self._known[address] = view, revision
        self._known.move_to_end(address)
        if len(self._known) > REMEMBERED:
            self._known.popitem(last=False)


def _view(address: Address, value: Value | None) -> tuple[ThreadView, int]:
    if value is None:
        return absent(*address), 0
    return (decode_thread(value.body) if value.body else absent(*address)), value.revision
