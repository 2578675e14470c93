"""Commits that were erased or swept: their copies in ``CLEW_ERASED``, read as the messages that they were in the log.

A copy is stored before its original is deleted, and never removed. So a commit that is neither in the log nor here when
it is looked for in this order is lost. A sweep removes the beginning of a shard: every commit of it has a copy then,
those that lost nothing with all their contents.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left, insort
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from clew_events.codec import UNREADABLE
from clew_events.errors import Corrupt
from clew_events.subjects import (
    ERASED_BLOCK,
    ERASED_STREAM,
    Address,
    erased_subject,
    erased_subjects,
    event_subject,
    swept_subject,
)
from clew_projections.lru_cache import LRUCache
from clew_projections.nats.jetstream import JetStream, stream_state
from clew_projections.nats.stream_messages import (
    DIGEST,
    ERASED_GUARD,
    ERASED_ID,
    ERASED_STORED_AT,
    EXPECTED,
    MSG_ID,
    STORED_AT,
    OutgoingMessage,
    StoredMessage,
)

ANY: Final = "*"
"""Any tenant, or any thread."""
AT_ONCE: Final = 256
"""The most copies in one read: commits have up to the server's largest message each."""
LISTED: Final = 64
"""Lists of sequences that are remembered."""
_LIST_AGAIN: Final = 1000
"""Messages since a list was read from which it is read again, instead of the news."""

_RENAMED: Final = {MSG_ID: ERASED_ID, EXPECTED: ERASED_GUARD, STORED_AT: ERASED_STORED_AT}
_ORIGINAL: Final = {copied: original for original, copied in _RENAMED.items()}


def copy_of(stored: StoredMessage, shard: int, n: int, body: bytes) -> OutgoingMessage:
    """Return the copy to store of a commit that is number ``n`` of its thread, with what is left of its body.

    It keeps the headers that the commit had, under names by which the server does nothing, but the digest only if it
    keeps all of its body.
    """
    _, _, _, tenant, thread = stored.subject.split(".")
    kept = {
        _RENAMED.get(name, name): value
        for name, value in stored.headers.items()
        if name in _RENAMED or not name.startswith("Nats-")
    }
    if body != stored.body:
        kept.pop(DIGEST, None)
    return OutgoingMessage(erased_subject(shard, stored.seq, Address(tenant, thread), n), body, kept)


def original_of(copied: StoredMessage) -> StoredMessage:
    """Return the message of the log that a copy stands for, without its erased contents."""
    _, _, shard, _, seq, tenant, thread, _ = copied.subject.split(".")
    headers = {
        _ORIGINAL.get(name, name): value for name, value in copied.headers.items() if not name.startswith("Nats-")
    }
    return StoredMessage(int(seq), event_subject(int(shard), Address(tenant, thread)), copied.body, headers)


class Swept(Struct, frozen=True):
    """That a shard's commits from the sequence ``first`` up to ``until``, which is not one of them, have copies all."""

    first: int
    until: int


NOT_SWEPT: Final = Swept(0, 0)
_SWEPT: Final = msgspec.json.Decoder(Swept)


class _Listed(Struct):
    """The sequences of the log with a copy, ascending, as of message ``up_to`` of the stream of copies."""

    seqs: array[int]
    up_to: int


class ErasedCommits:
    """Reads the copies of a deployment. ``replicated`` unless streams have a single replica."""

    def __init__(self, js: JetStream, *, replicated: bool) -> None:
        self._js = js
        self._replicated = replicated
        self._listed = LRUCache[str, _Listed](LISTED)
        self._apart: dict[int, tuple[Swept, _Listed]] = {}
        self.swept: dict[int, Swept] = {}
        """By shard, the sweep that was read last; it may go further by now."""

    async def read_swept(self, shard: int) -> Swept:
        """Read up to where a shard was swept.

        Raises:
            Corrupt: what says so cannot be read.
            Unavailable: JetStream does not answer.
        """
        stored = await self._js.newest_at_leader(ERASED_STREAM, swept_subject(shard), 0)
        try:
            self.swept[shard] = _SWEPT.decode(stored.body) if stored is not None else NOT_SWEPT
        except UNREADABLE as fault:
            raise Corrupt(f"{swept_subject(shard)} cannot be read: {fault}", code="unreadable_record") from fault
        return self.swept[shard]

    async def count(self, shard: int, last: int) -> tuple[int, int]:
        """How many commits of a shard, up to sequence ``last``, have a copy, and the first of them; 0 if none has.

        Raises:
            Unavailable: JetStream does not answer.
        """
        swept = await self.read_swept(shard)
        known, listed = self._apart.get(shard, (NOT_SWEPT, None))
        listed = await self._list(
            listed if known == swept else None, erased_subjects(shard), self._outside(shard, swept, last)
        )
        del listed.seqs[bisect_left(listed.seqs, swept.first) : bisect_left(listed.seqs, swept.until)]
        self._apart[shard] = (swept, listed)
        first = min([*listed.seqs[:1], *([swept.first] if swept.until else [])], default=0)
        return swept.until - swept.first + len(listed.seqs), first

    def _outside(self, shard: int, swept: Swept, last: int) -> list[str]:
        """The subjects of the copies of a shard, up to sequence ``last``, but of blocks that were swept as a whole."""
        if not swept.until:
            return [erased_subjects(shard)]
        return [
            erased_subjects(shard, block=block)
            for block in range(last // ERASED_BLOCK + 1)
            if max(1, block * ERASED_BLOCK) < swept.first or (block + 1) * ERASED_BLOCK > swept.until
        ]

    async def at(self, shard: int, seqs: Sequence[int]) -> dict[int, StoredMessage]:
        """Read the commits that had these sequences of a shard; those without a copy are left out.

        Raises:
            Unavailable: JetStream does not answer.
        """
        found: dict[int, StoredMessage] = {}
        for start in range(0, len(seqs), AT_ONCE):
            found |= await self._some(shard, seqs[start : start + AT_ONCE])
        if self._replicated:
            # A lagging replica may not have them yet.
            for seq in seqs:
                if seq not in found:
                    last = {"last_by_subj": erased_subjects(shard, seq)}
                    copied = await self._js.from_leader(ERASED_STREAM, last)
                    found |= {seq: original_of(copied)} if copied is not None else {}
        return found

    async def sequences(self, shard: int, tenant: str = ANY, thread: str = ANY) -> Sequence[int]:
        """Return the sequences of a shard that have a copy, ascending: all, or those of a tenant or a thread.

        Raises:
            Unavailable: JetStream does not answer.
        """
        pattern = erased_subjects(shard, tenant=tenant, thread=thread)
        listed = await self._list(self._listed.get(pattern), pattern, [pattern])
        self._listed.put(pattern, listed)
        return listed.seqs

    async def _list(self, listed: _Listed | None, pattern: str, patterns: Sequence[str]) -> _Listed:
        """Bring a list of the copies on a pattern up to now; where it is none, or too old, by all on ``patterns``."""
        end = (await stream_state(self._js, ERASED_STREAM)).last_seq
        if listed is None or not 0 <= end - listed.up_to <= _LIST_AGAIN:
            wanted = patterns if end else ()
            seqs = [_sequence(copied) for each in wanted for copied in await self._js.subjects(ERASED_STREAM, each)]
            return _Listed(array("Q", sorted(seqs)), end)
        if end > listed.up_to:
            await self._catch_up(listed, pattern, end)
        return listed

    async def _catch_up(self, listed: _Listed, pattern: str, end: int) -> None:
        known = set(listed.seqs)
        after = listed.up_to
        while copied := await self._js.from_leader(ERASED_STREAM, {"seq": after + 1, "next_by_subj": pattern}):
            after = copied.seq
            if (seq := _sequence(copied.subject)) not in known:
                insort(listed.seqs, seq)
                known.add(seq)
        listed.up_to = max(end, after)

    async def _some(self, shard: int, seqs: Sequence[int]) -> Mapping[int, StoredMessage]:
        if not seqs:
            return {}
        found = await self._js.lasts_at_once(ERASED_STREAM, [erased_subjects(shard, seq) for seq in seqs])
        if found is None:  # too large for one reply
            half = len(seqs) // 2
            return {**await self._some(shard, seqs[:half]), **await self._some(shard, seqs[half:])}
        return {each.seq: each for each in map(original_of, found.values())}


def _sequence(subject: str) -> int:
    return int(subject.split(".", 5)[4])
