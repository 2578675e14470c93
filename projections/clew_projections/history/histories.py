"""Reads of histories: a thread's commits from any sequence on, exactly as stored, each with its hash."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Container, Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from clew_events.codec import RECORD, UNREADABLE, decode, decode_recorded
from clew_events.commit import Commit, Position, Recorded
from clew_events.errors import Corrupt
from clew_events.events import ordinal_of
from clew_events.subjects import EVENTS, Address, address_of, event_stream, event_subject, shard_of
from clew_projections.apply import added_ordinals, advance, advance_items, inherit_items
from clew_projections.history.log_reads import LogSource
from clew_projections.nats.replica_reads import until
from clew_projections.nats.stream_messages import DIGEST, EXPECTED, TRACE, StoredMessage
from clew_projections.nats.stream_reads import PAGE, Reads
from clew_projections.views import ItemView, Parent, ThreadView, absent, parent_of

T = TypeVar("T")
LONG: Final = 16
"""Lines of a stored commit from which on only those are decoded that somebody wants."""
_RECORD: Final = msgspec.json.Decoder(RECORD)
_ENCODE: Final = msgspec.json.Encoder().encode


class LatestCommit(Struct, frozen=True):
    """A thread's latest commit; ``alone`` if its guard, which the server checked, names the sequence asked about."""

    recorded: Recorded
    alone: bool


class CommitPlaces(Struct, frozen=True):
    """The sequences of commits of a thread; those in ``small`` have at most 64 KiB."""

    address: Address
    seqs: Sequence[int]
    small: Container[int] = frozenset()


class Histories:
    """Reads the log of a deployment.

    A direct read of a replicated log may come from a follower that lags. So the stream's leader says what the latest
    commit is, and a read continues until it has that commit.
    """

    def __init__(self, js: LogSource, shards: int, *, replicated: bool) -> None:
        self._js = js
        self.shards = shards
        self.replicated = replicated
        """Whether the log has more than one replica."""
        self.asked = 0
        """How often the log was read for commits that a view may lack, since the start."""

    async def refresh(self) -> None:
        """Learn of every erasure that was acknowledged before this call, so that no later read returns its contents.

        Raises:
            Unavailable: the log does not answer.
        """
        await self._js.refresh()

    def may_be_erased(self, address: Address) -> bool:
        """Whether a thread may have an erasure that a view of it does not know of."""
        return self._js.may_be_erased(event_subject(self.shard(address), address))

    def shard(self, address: Address) -> int:
        """Return the shard that holds a thread's history."""
        return shard_of(address.thread, self.shards)

    async def read_latest(self, address: Address, seq: int) -> LatestCommit | None:
        """Read the thread's latest acknowledged commit; ``None`` if it is not after a sequence.

        Raises:
            Corrupt: the stored body is unreadable.
            Unavailable: the log does not answer.
        """
        stored = await self.newest(address, seq)
        if stored is None:
            return None
        return LatestCommit(read(stored, self.shard(address)), alone=stored.headers.get(EXPECTED) == str(seq))

    async def tail(self, address: Address, seq: int) -> list[Recorded]:
        """Read every commit of a thread after a sequence (0: all), up to the latest acknowledged.

        Raises:
            Corrupt: a stored body is unreadable.
            Unavailable: the log does not answer.
        """
        return [commit async for commit in self.after(address, seq)]

    async def after(self, address: Address, seq: int, ahead: int = PAGE) -> AsyncIterator[Recorded]:
        """Read the commits of :meth:`tail` one by one, for histories too long for memory, ``ahead`` in each request."""
        newest = await self.newest(address, seq)
        if newest is None:
            return
        shard = self.shard(address)
        stream, subject = event_stream(shard), event_subject(shard, address)
        async for stored in until(self._js, stream, subject, seq + 1, newest.seq, limit=ahead):
            yield read(stored, shard)

    async def find_other_tenant(self, address: Address) -> str | None:
        """Return a tenant that has a thread with this id; ``None`` if the address has one, or no tenant has.

        For operators only, as :func:`find_tenant`.

        Raises:
            Unavailable: the log does not answer.
        """
        if await self.newest(address, 0) is not None:
            return None
        return await find_tenant(self._js, self.shard(address), address.thread)

    async def at(self, address: Address, seq: int) -> Recorded:
        """Read the thread's commit at a sequence where it is known to have one. Costs one request.

        Raises:
            Corrupt: there is no commit of this thread, or it is unreadable.
            Unavailable: the log does not answer.
        """
        return (await self.read_at(address, (seq,)))[0]

    async def read_at(
        self, address: Address, seqs: Sequence[int], small: Container[int] = frozenset()
    ) -> list[Recorded]:
        """Read the thread's commits at sequences where it is known to have one; those in ``small`` have at most 64 KiB.

        Raises:
            Corrupt: one of them is unreadable or missing.
            Unavailable: the log does not answer.
        """
        (commits,) = await self.read_each([CommitPlaces(address, seqs, small)], read)
        if isinstance(commits, Corrupt):
            raise commits
        return commits

    async def read_each(
        self, places: Sequence[CommitPlaces], take: Callable[[StoredMessage, int], T]
    ) -> list[list[T] | Corrupt]:
        """Read commits of several threads together; of each thread, or why one of them is unreadable or missing.

        ``take`` decodes the message of a shard.

        Raises:
            Unavailable: the log does not answer.
        """
        small_by_shard: dict[int, dict[int, bool]] = {}
        for each in places:
            smalls = small_by_shard.setdefault(self.shard(each.address), {})
            smalls.update((seq, seq in each.small) for seq in each.seqs)
        reads = [self._stored(shard, smalls) for shard, smalls in small_by_shard.items()]
        read_stored = [await reads[0]] if len(reads) == 1 else await asyncio.gather(*reads)
        stored = dict(zip(small_by_shard, read_stored, strict=True))
        return [self._commits(each, stored[self.shard(each.address)], take) for each in places]

    async def _stored(self, shard: int, smalls: Mapping[int, bool]) -> dict[int, StoredMessage | None]:
        stream, found = event_stream(shard), dict[int, StoredMessage | None]()
        for small in (True, False):
            seqs = [seq for seq, is_small in smalls.items() if is_small == small]
            if seqs:
                found.update(zip(seqs, await self._js.at(stream, seqs, small=small), strict=True))
        return found

    def _commits(
        self,
        places: CommitPlaces,
        found: Mapping[int, StoredMessage | None],
        take: Callable[[StoredMessage, int], T],
    ) -> list[T] | Corrupt:
        shard, commits = self.shard(places.address), list[T]()
        subject = event_subject(shard, places.address)
        try:
            for seq in places.seqs:
                stored = found[seq]
                if stored is None or stored.subject != subject:
                    raise self._missing_commit(places.address, f"at sequence {seq}")
                commits.append(take(stored, shard))
        except Corrupt as fault:
            return fault
        return commits

    async def find_parent(self, parent: Parent) -> int:
        """Return the sequence of the commit that a fork was made at; it is looked for first where it stood then.

        Raises:
            Corrupt: there is no such commit, or one with another hash (``wrong_parent``); or one is unreadable.
            Unavailable: the log does not answer.
        """
        address, shard = parent.address, self.shard(parent.address)
        (stored,) = await self._js.at(event_stream(shard), [parent.seq])
        if stored is not None and stored.subject == event_subject(shard, address):
            recorded = read(stored, shard)
            if (recorded.commit.n, recorded.hash) == (parent.n, parent.hash):
                return parent.seq
        async for recorded in self.after(address, 0):
            if recorded.commit.n == parent.n:
                if recorded.hash != parent.hash:
                    break
                return recorded.position.seq
        raise Corrupt(
            f"a thread was forked from commit {parent.n} of thread {address.thread}, with the hash {parent.hash}, and "
            "there is none",
            code="wrong_parent",
        )

    async def first(self, address: Address) -> Recorded:
        """Read the commit that created a thread known to exist.

        Raises:
            Corrupt: there is no such commit.
        """
        async for recorded in self.after(address, 0, ahead=1):
            return recorded
        raise self._missing_commit(address, "at all")

    async def thread_at(self, address: Address, n: int) -> ThreadView:
        """Fold a thread from the log as it was after its commit ``n``, or its last one if it has fewer."""
        thread = absent(*address)
        async for recorded in self.after(address, 0):
            thread = advance(thread, recorded)
            if thread.n == n:
                break
        return thread

    async def items_at(self, address: Address, ordinals: Collection[int], n: int) -> dict[int, ItemView]:
        """Fold items, by ordinal, as they were after the thread's commit ``n`` from the log, inherited ones too."""
        views: dict[int, ItemView] = {}
        thread = absent(*address)
        async for recorded in self.after(address, 0):
            if recorded.commit.n > n:
                break
            thread = advance(thread, recorded)
            if thread.n == 1 and (parent := parent_of(thread)) is not None:
                inherited = {ordinal for ordinal in ordinals if ordinal <= thread.inherited}
                if inherited:
                    await self.refresh()
                    views = inherit_items(await self.items_at(parent.address, inherited, parent.n), thread.id)
            views |= advance_items(views, recorded.commit, ordinals)
        return views

    async def find_items(self, address: Address, items: Container[str], n: int) -> set[int]:
        """Find the ordinals of all items that were added under some ids up to the thread's commit ``n``."""
        found: set[int] = set()
        thread = absent(*address)
        async for recorded in self.after(address, 0):
            if recorded.commit.n > n:
                break
            if recorded.commit.n == 1:
                thread = advance(thread, recorded)
                if (parent := parent_of(thread)) is not None:
                    theirs = await self.find_items(parent.address, items, parent.n)
                    found |= {ordinal for ordinal in theirs if ordinal <= thread.inherited}
            found |= added_ordinals(recorded.commit, items)
        return found

    async def newest(self, address: Address, seq: int) -> StoredMessage | None:
        """Read the stored message of the thread's latest commit; ``None`` if it is not after a sequence."""
        self.asked += 1
        shard = shard_of(address.thread, self.shards)
        ask = self._js.newest_at_leader if self.replicated else self._js.newest
        return await ask(event_stream(shard), event_subject(shard, address), seq)

    async def check_reaches(self, address: Address, n: int, seq: int) -> None:
        """Check that the log still has the commits from which a view was folded.

        Raises:
            Corrupt: the thread's last commit is before ``seq``, where its commit ``n`` was.
            Unavailable: the log does not answer.
        """
        last = await self.read_latest(address, 0)
        if last is None or last.recorded.position.seq < seq:
            raise Corrupt(
                f"thread {address.thread} was at commit {n}, sequence {seq} of shard {self.shard(address)}, and the "
                "log ends before it: commits were lost. Restore the log from a backup, or accept the loss by "
                "deleting the thread's keys from the bucket",
                code="log_cut_off",
            )

    def _missing_commit(self, address: Address, where: str) -> Corrupt:
        return Corrupt(
            f"thread {address.thread}: no commit {where} in shard {self.shard(address)}, where there was one",
            code="missing_commit",
        )


async def find_tenant(js: Reads, shard: int, thread: str) -> str | None:
    """Return a tenant that has, or had, a thread with this id; ``None`` if there is none.

    It is for operators only: a tenant must not learn of the threads of others.

    Raises:
        Unavailable: the log does not answer.
    """
    stored = await js.newest_at_leader(event_stream(shard), f"{EVENTS}.{shard:02d}.*.{thread}", 0)
    return address_of(stored.subject).tenant if stored is not None else None


def read(stored: StoredMessage, shard: int) -> Recorded:
    """Decode a stored message as a commit.

    Raises:
        Corrupt: it is not a commit; the error names its sequence and shard.
    """
    try:
        return decode_recorded(
            stored.body, Position(shard, stored.seq), stored.headers.get(TRACE), stored.headers.get(DIGEST)
        )
    except Corrupt as fault:
        locate_fault(fault, stored.seq, shard)
        raise


def read_about(stored: StoredMessage, shard: int, ordinals: Container[int]) -> Commit:
    """Decode a stored message as a commit, with its events about the thread and some items; others may be missing.

    Raises:
        Corrupt: as :func:`read`.
    """
    try:
        if (cut := _cut(stored.body, ordinals)) is not stored.body:
            with contextlib.suppress(Corrupt):
                return decode(cut)
        return decode(stored.body)
    except Corrupt as fault:
        locate_fault(fault, stored.seq, shard)
        raise


def _cut(body: bytes, ordinals: Container[int]) -> bytes:
    """Return the body of a long commit without its events about other items than some."""
    if body.count(b"\n") < LONG:
        return body
    line, *contents = body.split(b"\n")
    try:
        record: Any = _RECORD.decode(line)
    except UNREADABLE:
        return body
    if len(contents) != len(record.events) + 2 or contents[-1]:
        return body
    kept = [
        (event, content)
        for event, content in zip(record.events, contents[1:], strict=False)
        if not hasattr(event, "item") or ordinal_of(event) in ordinals
    ]
    line = _ENCODE(replace(record, events=tuple(event for event, _ in kept)))
    return b"\n".join((line, contents[0], *(content for _, content in kept), b""))


def locate_fault(fault: Corrupt, seq: int, shard: int) -> Corrupt:
    """Return a fault of a stored message that says where it is."""
    fault.message = f"sequence {seq} of shard {shard}: {fault.message}"
    fault.args = (fault.message,)
    return fault
