"""Reads of a stretch of a thread's history, forward or backward from any commit, without reading the rest.

The server searches for a thread's next commit through everything stored in between, and cannot search backward. But a
view holds the sequences of the last hundred commits, which one request can read; and the guard of every commit is the
sequence of the commit before it. Both are hints: the message at a hinted sequence must be this thread's commit with the
expected number, otherwise the server searches.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
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
"""The most commits in one request."""


class Spot(Struct, frozen=True):
    """A commit's number and its sequence; 0 if the sequence is unknown."""

    n: int
    seq: int = 0


class _Link(Struct, frozen=True):
    """A commit and its guard: the sequence of the commit before it."""

    recorded: Recorded
    guard: int


class HistoryReader:
    """Reads stretches of histories. A ``hint`` is any view of the thread, however old, even an absent one."""

    def __init__(self, js: Reads, histories: Histories) -> None:
        self._js = js
        self._histories = histories

    async def refresh(self) -> None:
        """Learn of every erasure that was acknowledged before this call, so that no later read returns its contents.

        Raises:
            Unavailable: the log does not answer.
        """
        await self._histories.refresh()

    async def forward(self, hint: ThreadView, after: Spot, ahead: int = AHEAD) -> AsyncIterator[Recorded]:
        """Read the commits after a spot (number 0: all), oldest first, about ``ahead`` in each request.

        Raises:
            Corrupt: a stored body is unreadable.
            Unavailable: the log does not answer.
        """
        address, ahead = Address(hint.tenant, hint.id), min(ahead, AHEAD)
        known = _known_sequences(hint)
        first = min(known, default=0)
        n, seq = after.n, await self._begin(address, after, known)
        if known and n + 1 < first:
            number = 0
            async for recorded in self._histories.after(address, seq, ahead):
                seq, number = recorded.position.seq, number + 1
                if recorded.commit.n > n:
                    yield recorded
                # What was read with the last unknown one need not be read again.
                if recorded.commit.n + 1 >= first and number % ahead == 0:
                    n = max(n, recorded.commit.n)
                    break
            else:
                return
        while spots := _known_spots(known, range(n + 1, n + 1 + ahead)):
            for link in await self._read_exactly(address, spots):
                yield link.recorded
                n, seq = link.recorded.commit.n, link.recorded.position.seq
            if n < spots[-1].n:
                break
        async for recorded in self._histories.after(address, seq, ahead):
            if recorded.commit.n > n:
                yield recorded

    async def backward(self, hint: ThreadView, before: Spot | None, ahead: int = AHEAD) -> AsyncIterator[Recorded]:
        """Read the commits before a spot (``None``: all), newest first.

        Raises:
            Corrupt: a stored body is unreadable.
            Unavailable: the log does not answer.
        """
        address, known, ahead = Address(hint.tenant, hint.id), _known_sequences(hint), min(ahead, AHEAD)
        link = await (self._newest(address) if before is None else self._before(address, before))
        while link is not None:
            yield link.recorded
            n = link.recorded.commit.n
            spots = _known_spots(known, range(n - 1, max(0, n - 1 - ahead), -1))
            for link in await self._read_exactly(address, spots):
                yield link.recorded
            link = await self._previous(address, link)

    async def find_spot(self, hint: ThreadView, spot: Spot) -> Spot | None:
        """Return a spot with its sequence; ``None`` if the thread does not have that commit there."""
        address = Address(hint.tenant, hint.id)
        if spot.seq:
            return spot if await self._read_one(address, spot) else None
        if (seq := _known_sequences(hint).get(spot.n)) and await self._read_one(address, Spot(spot.n, seq)):
            return Spot(spot.n, seq)
        async for recorded in self.forward(hint, Spot(spot.n - 1)):
            return Spot(spot.n, recorded.position.seq) if recorded.commit.n == spot.n else None
        return None

    async def find_next(self, hint: ThreadView, n: int) -> Spot | None:
        """Return the spot of the thread's first commit after number ``n``; ``None`` if there is none.

        Raises:
            Corrupt: a stored body is unreadable.
            Unavailable: the log does not answer.
        """
        async for recorded in self.forward(hint, Spot(n), 1):
            return Spot(recorded.commit.n, recorded.position.seq)
        return None

    async def read_at(self, address: Address, seqs: Sequence[int]) -> list[Recorded]:
        """Read the thread's commits at sequences where it is known to have one.

        Raises:
            Corrupt: one of them is unreadable or missing.
            Unavailable: the log does not answer.
        """
        return await self._histories.read_at(address, seqs)

    async def _begin(self, address: Address, after: Spot, known: Mapping[int, int]) -> int:
        if after.seq or after.n not in known:
            return after.seq
        return known[after.n] if await self._read_one(address, Spot(after.n, known[after.n])) else 0

    async def _newest(self, address: Address) -> _Link | None:
        stored = await self._histories.newest(address, 0)
        return self._link(address, stored) if stored is not None else None

    async def _before(self, address: Address, spot: Spot) -> _Link | None:
        link = await self._read_one(address, spot)
        if link is None:
            raise Corrupt(
                f"thread {address.thread}: commit {spot.n} is not at sequence {spot.seq}", code="missing_commit"
            )
        return await self._previous(address, link)

    async def _previous(self, address: Address, link: _Link) -> _Link | None:
        n, seq = link.recorded.commit.n, link.recorded.position.seq
        if n <= 1:
            return None
        if link.guard and (previous := await self._read_one(address, Spot(n - 1, link.guard))) is not None:
            return previous
        shard = self._histories.shard(address)
        stored = await before(self._js, event_stream(shard), event_subject(shard, address), seq)
        return self._link(address, stored) if stored is not None else None

    async def _read_one(self, address: Address, spot: Spot) -> _Link | None:
        return next(await self._read_exactly(address, [spot]), None)

    async def _read_exactly(self, address: Address, spots: Sequence[Spot]) -> Iterator[_Link]:
        """Read the thread's commits at spots, up to the first that is missing; each is decoded when it is taken."""
        if not spots:
            return iter(())
        shard = self._histories.shard(address)
        stream, subject = event_stream(shard), event_subject(shard, address)
        are_first = any(spot.n == 1 for spot in spots)
        messages = await self._js.at(stream, [spot.seq for spot in spots], first_on=subject if are_first else None)
        return self._links(address, spots, messages)

    def _links(
        self, address: Address, spots: Sequence[Spot], messages: Sequence[StoredMessage | None]
    ) -> Iterator[_Link]:
        subject = event_subject(self._histories.shard(address), address)
        for spot, stored in zip(spots, messages, strict=True):
            if stored is None or stored.subject != subject:
                return
            link = self._link(address, stored)
            if link.recorded.commit.n != spot.n:
                return
            yield link

    def _link(self, address: Address, stored: StoredMessage) -> _Link:
        guard = stored.headers.get(EXPECTED, "")
        return _Link(
            read(stored, self._histories.shard(address)), int(guard) if guard.isascii() and guard.isdecimal() else 0
        )


async def check_unbroken(hint: ThreadView, commits: AsyncIterator[Recorded]) -> AsyncIterator[Recorded]:
    """Yield a thread's commits from the first on and check that none is missing, at least up to ``hint``.

    Raises:
        Corrupt: a commit is missing; raised in place of the commit after it.
    """
    n = 0
    async for recorded in commits:
        if recorded.commit.n != n + 1:
            raise _missing_commits(hint.id, n + 1, recorded.commit.n - 1)
        n += 1
        yield recorded
    if n < hint.n:
        raise _missing_commits(hint.id, n + 1, hint.n)


def _missing_commits(thread: str, first: int, last: int) -> Corrupt:
    which = f"commit {first} is" if first >= last else f"commits {first} to {last} are"
    return Corrupt(
        f"thread {thread}: {which} missing from the log. 'clew history' shows the others, 'clew verify' says more",
        code="missing_commit",
    )


def _known_sequences(view: ThreadView) -> Mapping[int, int]:
    """Return the sequences that a view holds, by the numbers of their commits."""
    first = view.n - len(view.commands) + 1
    return {n: spent.seq for n, spent in enumerate(view.commands, start=first)}


def _known_spots(known: Mapping[int, int], numbers: Iterable[int]) -> list[Spot]:
    """Return the spots of commits, up to the first with an unknown sequence, so that the result has no gap."""
    return [Spot(n, known[n]) for n in takewhile(known.__contains__, numbers)]
