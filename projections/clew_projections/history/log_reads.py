"""Reads of the log as it was written: a commit that was erased or swept is answered at its sequence, with what is left.

The log's streams do not hold such commits any more; :mod:`.erased_commits` reads their copies. A gap shows without a
look at bodies. The guard of a commit is the sequence of the commit before it on its subject, and in a whole shard
sequences follow one another, from the first on. Imported commits may have no guard: then all that the thread lost is
listed. A thread's last commit is never erased or swept, so reads of the newest need no copies, and a page that is empty
hides none.

Contents whose erasure is requested and not carried out yet are taken out of what is returned.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Final, Protocol

from msgspec.structs import replace

from clew_events.subjects import Address, address_of, event_stream
from clew_projections.history.erased_commits import ANY, AT_ONCE, NOT_SWEPT, ErasedCommits
from clew_projections.history.pending_erasures import PendingErasures
from clew_projections.nats.jetstream import JetStream, stream_state
from clew_projections.nats.request_mux import RequestMux
from clew_projections.nats.stream_messages import EXPECTED, STORED_AT, StoredMessage, StreamState, microseconds
from clew_projections.nats.stream_reads import PAGE, PAGE_BYTES, Reads
from clew_projections.nats.walks import LONG, Walks

STEPS: Final = 32
"""Requests in which single missing commits of a thread are looked for, before all of the thread's are listed."""
NEAR: Final = 64
"""The fewest sequences of a shard in which missing commits are looked for, before all that have a copy are listed."""
_LOG: Final = event_stream(0).removesuffix("00")


class LogSource(Reads, Protocol):
    """What a log is read from: its deployment, by :class:`LogReads`, or a pack."""

    async def refresh(self) -> None:
        """Learn of every erasure that was acknowledged before this call."""

    def may_be_erased(self, subject: str) -> bool:
        """Whether a thread, by its subject, may have an erasure that a view of it does not know of."""


class LogReads(JetStream):
    """JetStream, whose reads of the log's streams are whole. Everything that reads the log reads it here."""

    def __init__(self, exchange: RequestMux, *, replicated: bool) -> None:
        super().__init__(exchange)
        self._erased = ErasedCommits(self, replicated=replicated)
        self.pending = PendingErasures(self)
        self._walks = Walks(exchange)

    async def refresh(self) -> None:
        """Learn of every erasure that was acknowledged before this call. Costs one small request.

        Raises:
            Unavailable: JetStream does not answer.
        """
        await self.pending.refresh()

    def may_be_erased(self, subject: str) -> bool:
        """Whether a thread, by its subject, may have an erasure that a view of it does not know of."""
        return self.pending.may_concern(subject)

    async def extent(self, shard: int) -> StreamState:
        """Read the extent of a shard from its leader, with the commits that lost contents.

        Raises:
            Unavailable: JetStream does not answer.
        """
        state = await stream_state(self, event_stream(shard))
        if state.messages == state.last_seq:
            return state
        count, first = await self._erased.count(shard, state.last_seq)
        # While a commit is erased or swept, the log and the stream of copies have it both.
        messages = min(state.messages + count, state.last_seq)
        return replace(state, messages=messages, first_seq=min(state.first_seq, first or state.first_seq))

    async def after(self, stream: str, subject: str, seq: int, limit: int = PAGE) -> tuple[list[StoredMessage], bool]:
        """Read messages on a subject from a sequence on, at most ``limit``, and whether there are more.

        Any replica may answer, so on a replicated stream the newest may be missing.
        """
        if stream.startswith(_LOG) and (page := await self._swept(stream, subject, seq, limit)):
            return self._redact_all(page), True
        if not stream.startswith(_LOG):
            return await super().after(stream, subject, seq, limit)
        page, more = await self._read_on(stream, subject, seq, limit)
        if not page:
            return page, more
        whole, missing = await self._fill(stream, subject, seq, page, limit)
        return self._redact_all(whole[:limit]), more or missing or len(whole) > limit

    async def _read_on(self, stream: str, subject: str, seq: int, limit: int) -> tuple[list[StoredMessage], bool]:
        """Read what the stream has; a long read goes on by a consumer of its own."""
        async with self._bulk:
            walked = await self._walks.next(stream, subject, seq, limit, PAGE_BYTES)
        if walked is not None:
            messages, left = walked
            return messages, left > 0
        page, more = await super().after(stream, subject, seq, limit)
        if more and limit >= PAGE and int(page[-1].headers.get("Nats-Num-Pending") or 0) >= LONG:
            await self._walks.begin(stream, subject, page[-1].seq + 1)
        return page, more

    async def at(
        self, stream: str, seqs: Sequence[int], *, small: bool = False, first_on: str | None = None
    ) -> list[StoredMessage | None]:
        """Read the messages at sequences; ``None`` for each that is missing."""
        if not stream.startswith(_LOG):
            return await super().at(stream, seqs, small=small, first_on=first_on)
        shard = _shard(stream)
        known = self._erased.swept.get(shard, NOT_SWEPT)
        gone = [seq for seq in seqs if known.first <= seq < known.until]
        found = await self._erased.at(shard, gone) if gone else {}
        there = [seq for seq in seqs if seq not in found] if found else seqs
        read = await super().at(stream, there, small=small, first_on=first_on)
        if not found and None not in read and not self.pending:
            return read
        found |= {seq: stored for seq, stored in zip(there, read, strict=True) if stored is not None}
        if missing := [seq for seq in there if seq not in found]:
            found |= await self._erased.at(shard, missing)
            if min(missing) >= known.until:
                await self._erased.read_swept(shard)
        whole = [found.get(seq) for seq in seqs]
        return [stored and self.redact(stored) for stored in whole]

    async def newest_until(self, stream: str, subject: str, seq: int) -> StoredMessage | None:
        """Read the last message on an exact subject at or before a sequence. Any replica may answer."""
        found = await super().newest_until(stream, subject, seq)
        if not stream.startswith(_LOG):
            return found
        # The log answers with an earlier commit where the last one is erased, and shows no gap.
        seqs = await self._erased.sequences(_shard(stream), *_scope(subject))
        place = bisect_right(seqs, seq)
        if place and (found is None or seqs[place - 1] > found.seq):
            found = (await self._erased.at(_shard(stream), [seqs[place - 1]])).get(seqs[place - 1], found)
        return found and self.redact(found)

    async def first_since(self, stream: str, subject: str, moment: int) -> StoredMessage | None:
        """Read the first message on a subject that was stored at a time (microseconds since 1970) or later."""
        found = await super().first_since(stream, subject, moment)
        if not stream.startswith(_LOG) or found is None:
            return found
        shard = _shard(stream)
        if (seq := await self._swept_since(shard, moment)) is not None:
            return await self.from_leader(stream, {"seq": seq, "next_by_subj": subject})
        seqs = await self._erased.sequences(shard, *_scope(subject))
        end, size = bisect_left(seqs, found.seq), 1
        while end:
            start = max(0, end - size)
            copies = await self._erased.at(shard, seqs[start:end])
            since = [each for each in copies.values() if microseconds(each.headers[STORED_AT]) >= moment]
            found = min((found, *since), key=_sequence)
            if len(since) < len(copies):
                break
            end, size = start, min(4 * size, AT_ONCE)
        return self.redact(found)

    async def from_leader(self, stream: str, request: Mapping[str, object]) -> StoredMessage | None:
        """Send a ``STREAM.MSG.GET`` request to the stream's leader. Retries while no leader is elected (10008).

        Raises:
            Timeout: no leader answered in time.
            ApiRefusal: the leader answered with an error.
        """
        found = await super().from_leader(stream, request)
        if not stream.startswith(_LOG):
            return found
        seq, subject = request.get("seq"), request.get("next_by_subj")
        if found is not None and isinstance(seq, int) and isinstance(subject, str):
            whole = await self._swept(stream, subject, seq, NEAR)
            if not whole:
                whole, _ = await self._fill(stream, subject, seq, [found], 1)
            found = whole[0]
        elif found is None and isinstance(seq, int) and subject is None:
            found = (await self._erased.at(_shard(stream), [seq])).get(seq)
        return found and self.redact(found)

    async def _swept(self, stream: str, subject: str, seq: int, limit: int) -> list[StoredMessage]:
        """Return the messages on a subject with wildcards among the next ``limit`` of a shard, if these were swept."""
        shard, scope = _shard(stream), _scope(subject)
        swept, seq = self._erased.swept.get(shard, NOT_SWEPT), max(seq, 1)
        end = min(swept.until, seq + limit)
        if ANY not in scope or not swept.first <= seq < end:
            return []
        return await self._near(shard, scope, range(seq, end))

    async def _near(self, shard: int, scope: Address, seqs: Sequence[int]) -> list[StoredMessage]:
        copies = await self._erased.at(shard, seqs)
        own = [each for each in copies.values() if all(map(_fits, scope, address_of(each.subject)))]
        return sorted(own, key=_sequence)

    async def _swept_since(self, shard: int, moment: int) -> int | None:
        """Return the first sequence of a shard that was stored at a time or later; ``None`` if it was not swept."""
        swept = await self._erased.read_swept(shard)

        async def is_since(seq: int) -> bool:
            copied = (await self._erased.at(shard, [seq])).get(seq)
            return copied is not None and microseconds(copied.headers[STORED_AT]) >= moment

        first, until = swept.first, swept.until
        if first == until or not await is_since(until - 1):
            return None
        while first < until - 1:
            middle = (first + until - 1) // 2
            if await is_since(middle):
                until = middle + 1
            else:
                first = middle + 1
        return first

    def redact(self, stored: StoredMessage) -> StoredMessage:
        """Return a commit without the contents whose erasure was requested."""
        return self.pending.redact(stored)

    def _redact_all(self, messages: list[StoredMessage]) -> list[StoredMessage]:
        return [self.redact(each) for each in messages] if self.pending else messages

    async def _fill(
        self, stream: str, subject: str, seq: int, page: list[StoredMessage], limit: int
    ) -> tuple[list[StoredMessage], bool]:
        """Return a page that the log has from a sequence on with the commits that are missing in it.

        The page ends where more would have to be read at once; then the second value is true.
        """
        shard, scope = _shard(stream), _scope(subject)
        if ANY not in scope:
            return await self._fill_thread(shard, scope, seq, page, limit)
        if scope == _EVERYTHING and page[-1].seq - max(seq, 1) + 1 == len(page):
            return page, False
        return await self._merge(shard, scope, seq, page, limit)

    async def _fill_thread(
        self, shard: int, scope: Address, seq: int, page: list[StoredMessage], limit: int
    ) -> tuple[list[StoredMessage], bool]:
        if _is_unguarded(page):
            return await self._merge(shard, scope, seq, page, limit)
        known = {each.seq: each for each in page}
        guards = _missing_guards(page, seq, known)
        for _ in range(STEPS):
            copies = await self._erased.at(shard, guards[:AT_ONCE])
            own = [each for each in copies.values() if each.subject == page[0].subject]
            known |= {each.seq: each for each in own}
            if len(own) < len(guards) or _is_unguarded(own):
                break  # too many, or lost, or not known
            guards = _missing_guards(own, seq, known)
        if not guards:
            return sorted(known.values(), key=_sequence), False
        return await self._merge(shard, scope, seq, page, limit)

    async def _merge(
        self, shard: int, scope: Address, seq: int, page: list[StoredMessage], limit: int
    ) -> tuple[list[StoredMessage], bool]:
        there = {each.seq for each in page}
        if scope == _EVERYTHING:
            # Where commits were swept or erased, those nearby are, too. So they are found without a list of all.
            most = max(min(limit, AT_ONCE), NEAR)
            near = list(islice((each for each in range(max(seq, 1), page[-1].seq) if each not in there), most + 1))
            copies = await self._near(shard, scope, near[:most])
            if len(near) <= most:
                return sorted((*page, *copies), key=_sequence), False
            if near[0] >= self._erased.swept.get(shard, NOT_SWEPT).until:
                await self._erased.read_swept(shard)
            if copies:
                page = [each for each in page if each.seq < near[most]]
                return sorted((*page, *copies), key=_sequence), True
        seqs = await self._erased.sequences(shard, *scope)
        missing = seqs[bisect_left(seqs, seq) : bisect_left(seqs, page[-1].seq)]
        wanted = [each for each in missing if each not in there][: min(limit, AT_ONCE) + 1]
        if wanted and wanted[0] >= self._erased.swept.get(shard, NOT_SWEPT).until:
            await self._erased.read_swept(shard)
        cut = len(wanted) > min(limit, AT_ONCE)
        if cut:
            end = wanted.pop()
            page = [each for each in page if each.seq < end]
        found = await self._erased.at(shard, wanted)
        return sorted((*page, *found.values()), key=_sequence), cut


_EVERYTHING: Final = Address(ANY, ANY)


def _fits(wanted: str, token: str) -> bool:
    return wanted in {ANY, token}


def _shard(stream: str) -> int:
    return int(stream[len(_LOG) :])


def _scope(subject: str) -> Address:
    """Return the tenant and the thread that a subject of the log is of, each :data:`ANY` where it is of all."""
    if subject == ">":
        return _EVERYTHING
    _, _, _, tenant, thread = subject.split(".")
    return Address(tenant, thread)


def _missing_guards(messages: Iterable[StoredMessage], seq: int, known: Mapping[int, object]) -> list[int]:
    """Return the sequences, from ``seq`` on, of the commits before some commits of a thread, if they are not known."""
    guards = (each.headers.get(EXPECTED) or "" for each in messages)
    found = {int(guard) for guard in guards if guard.isascii() and guard.isdecimal()}
    return sorted(guard for guard in found if guard >= max(seq, 1) and guard not in known)


def _is_unguarded(messages: Iterable[StoredMessage]) -> bool:
    """Whether a commit has no guard, as those that were imported in one batch with the commit before."""
    return any(EXPECTED not in each.headers for each in messages)


def _sequence(stored: StoredMessage) -> int:
    return stored.seq
