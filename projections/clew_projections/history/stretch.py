"""Stretches of a thread's history, forward and backward, from anywhere, without reading all that lies before.

The server searches for a thread's next commit through everything that was stored in between, and cannot search backward
at all. But a view knows where the last hundred commits stand, which can then be read at once; and every commit says
in its guard where the one before it stands. Both are taken for hints: what is found there must be this thread's commit
of the number expected, and otherwise the server is asked to search.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from itertools import takewhile
from typing import Final

from msgspec import Struct

from clew_events.commit import Recorded
from clew_events.errors import Corrupt
from clew_events.subjects import Address, event_stream, event_subject
from clew_projections.history.histories import Histories, read
from clew_projections.nats.replica_reads import before
from clew_projections.nats.stream_messages import EXPECTED, StoredMessage
from clew_projections.nats.stream_reads import Reads
from clew_projections.views import ThreadView

AHEAD: Final = 128
"""The most commits that are asked for at once."""


class Spot(Struct, frozen=True):
    """A commit's number, and the sequence where it stands; 0 if that is not known."""

    n: int
    seq: int = 0


class _Link(Struct, frozen=True):
    """A commit, and the sequence its guard named: that of the one before."""

    recorded: Recorded
    guard: int


class HistoryReader:
    """Reads stretches of histories. A ``hint`` is any view of the thread, however old; it need not be one that is."""

    def __init__(self, js: Reads, histories: Histories) -> None:
        self._js = js
        self._histories = histories

    async def onward(self, hint: ThreadView, after: Spot, ahead: int = AHEAD) -> AsyncIterator[Recorded]:
        """The commits after a spot (number 0: all of them), the oldest first; about ``ahead`` are read at once.

        Raises:
            Corrupt: a stored body cannot be read.
            Unavailable: the log does not answer.
        """
        address, ahead = Address(hint.tenant, hint.id), min(ahead, AHEAD)
        known = _known_sequences(hint)
        first = min(known, default=0)
        n, seq = after.n, await self._begin(address, after, known)
        if known and n + 1 < first:
            async for found in self._histories.after(address, seq, ahead):
                seq = found.position.seq
                if found.commit.n > n:
                    yield found
                if found.commit.n + 1 >= first:
                    n = max(n, found.commit.n)
                    break
            else:
                return
        while ahead_of := _run(known, range(n + 1, n + 1 + ahead)):
            page = await self._exactly(address, ahead_of)
            for link in page:
                yield link.recorded
                n, seq = link.recorded.commit.n, link.recorded.position.seq
            if len(page) < len(ahead_of):
                break
        async for found in self._histories.after(address, seq, ahead):
            if found.commit.n > n:
                yield found

    async def back(self, hint: ThreadView, before: Spot | None, ahead: int = AHEAD) -> AsyncIterator[Recorded]:
        """The commits before a spot (``None``: all of them), the newest first.

        Raises:
            Corrupt: a stored body cannot be read.
            Unavailable: the log does not answer.
        """
        address, known, ahead = Address(hint.tenant, hint.id), _known_sequences(hint), min(ahead, AHEAD)
        link = await (self._newest(address) if before is None else self._before(address, before))
        while link is not None:
            yield link.recorded
            n = link.recorded.commit.n
            for link in await self._exactly(address, _run(known, range(n - 1, max(0, n - 1 - ahead), -1))):
                yield link.recorded
            link = await self._previous(address, link)

    async def spot(self, hint: ThreadView, spot: Spot) -> Spot | None:
        """A spot with its sequence, if the thread has that commit, and has it there."""
        address = Address(hint.tenant, hint.id)
        if spot.seq:
            return spot if await self._exactly(address, [spot]) else None
        if (seq := _known_sequences(hint).get(spot.n)) and await self._exactly(address, [Spot(spot.n, seq)]):
            return Spot(spot.n, seq)
        async for found in self.onward(hint, Spot(spot.n - 1)):
            return Spot(spot.n, found.position.seq) if found.commit.n == spot.n else None
        return None

    async def following(self, hint: ThreadView, n: int) -> Spot | None:
        """Where the thread's first commit after number ``n`` stands, whatever its number is; nothing if there is none.

        Raises:
            Corrupt: a stored body cannot be read.
            Unavailable: the log does not answer.
        """
        async for found in self.onward(hint, Spot(n), 1):
            return Spot(found.commit.n, found.position.seq)
        return None

    async def among(self, address: Address, seqs: Sequence[int]) -> list[Recorded]:
        """The thread's commits at some sequences where it is known to have one.

        Raises:
            Corrupt: one of them cannot be read, or is not there.
            Unavailable: the log does not answer.
        """
        shard = self._histories.shard(address)
        subject = event_subject(shard, address)
        found: list[Recorded] = []
        for start in range(0, len(seqs), AHEAD):
            some = seqs[start : start + AHEAD]
            for seq, stored in zip(some, await self._js.at(event_stream(shard), some), strict=True):
                if stored is None or stored.subject != subject:
                    found.append(await self._histories.at(address, seq))
                else:
                    found.append(read(stored, shard))
        return found

    async def _begin(self, address: Address, after: Spot, known: Mapping[int, int]) -> int:
        if after.seq or after.n not in known:
            return after.seq
        there = await self._exactly(address, [Spot(after.n, known[after.n])])
        return known[after.n] if there else 0

    async def _newest(self, address: Address) -> _Link | None:
        stored = await self._histories.newest(address, 0)
        return self._link(address, stored) if stored is not None else None

    async def _before(self, address: Address, spot: Spot) -> _Link | None:
        found = await self._exactly(address, [spot])
        if not found:
            raise Corrupt(
                f"thread {address.thread}: commit {spot.n} is not at sequence {spot.seq}", code="missing_commit"
            )
        return await self._previous(address, found[0])

    async def _previous(self, address: Address, link: _Link) -> _Link | None:
        n, seq = link.recorded.commit.n, link.recorded.position.seq
        if n <= 1:
            return None
        if link.guard and (found := await self._exactly(address, [Spot(n - 1, link.guard)])):
            return found[0]
        shard = self._histories.shard(address)
        stored = await before(self._js, event_stream(shard), event_subject(shard, address), seq)
        return self._link(address, stored) if stored is not None else None

    async def _exactly(self, address: Address, spots: Sequence[Spot]) -> list[_Link]:
        """The thread's commits at some spots, up to the first that is not there."""
        if not spots:
            return []
        shard = self._histories.shard(address)
        stream, subject = event_stream(shard), event_subject(shard, address)
        stored = await self._js.at(stream, [spot.seq for spot in spots])
        links: list[_Link] = []
        for spot, each in zip(spots, stored, strict=True):
            if each is None or each.subject != subject:
                break
            link = self._link(address, each)
            if link.recorded.commit.n != spot.n:
                break
            links.append(link)
        return links

    def _link(self, address: Address, stored: StoredMessage) -> _Link:
        guard = stored.headers.get(EXPECTED, "")
        return _Link(
            read(stored, self._histories.shard(address)), int(guard) if guard.isascii() and guard.isdecimal() else 0
        )


async def unbroken(hint: ThreadView, commits: AsyncIterator[Recorded]) -> AsyncIterator[Recorded]:
    """A thread's commits from the first on, held to be all that the thread has, up to where ``hint`` stands at least.

    Raises:
        Corrupt: one of them is missing, at the latest when the one that follows it is asked for.
    """
    n = 0
    async for recorded in commits:
        if recorded.commit.n != n + 1:
            raise _lost(hint.id, n + 1, recorded.commit.n - 1)
        n += 1
        yield recorded
    if n < hint.n:
        raise _lost(hint.id, n + 1, hint.n)


def _lost(thread: str, first: int, last: int) -> Corrupt:
    which = f"commit {first} is" if first >= last else f"commits {first} to {last} are"
    return Corrupt(
        f"thread {thread}: {which} missing from the log. 'clew history' shows the others, 'clew verify' says more",
        code="missing_commit",
    )


def _known_sequences(view: ThreadView) -> Mapping[int, int]:
    """The sequences that a view remembers, by the numbers of their commits."""
    first = view.n - len(view.commands) + 1
    return {n: spent.seq for n, spent in enumerate(view.commands, start=first)}


def _run(known: Mapping[int, int], numbers: Iterable[int]) -> list[Spot]:
    """The spots of some commits, up to the first that a view does not know: beyond it others would be left out."""
    return [Spot(n, known[n]) for n in takewhile(known.__contains__, numbers)]
