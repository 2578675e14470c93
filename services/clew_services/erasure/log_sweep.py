"""The sweep: the beginning of a shard is taken out of the log in one piece, where many erasures take contents of it.

Single deletions rewrite a block of the server for each commit. A sweep instead stores every commit up to a sequence in
``CLEW_ERASED``, those that lose contents without them and the others whole, and then purges the log up to there, which
removes whole blocks. Every step can be repeated: whoever was killed begins again, and finds what is there.

**No thread's last commit is swept**: by it readers and guards know where the thread ends. So a sweep ends before the
first of them.

**No content is left in a file.** The server removes the blocks before the one in which the log now begins. Of that one
it may leave the beginning as it is, unless more than half of it is gone (nats-server 2.15.1, ``compactLocked``). So all
that has contents there is deleted singly before the purge. Nobody outside sees where a block ends, but it has at most
:data:`BLOCK` bytes; and if what has no contents is more than :data:`REMNANT`, the server does not leave it.
"""

from __future__ import annotations

import asyncio
import math
import time
from array import array
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from clew_events.codec import redact
from clew_events.commit import Position, Recorded
from clew_events.errors import Corrupt, Unavailable
from clew_events.subjects import ERASED_STREAM, event_stream, swept_subject
from clew_projections.history.erased_commits import ErasedCommits, Swept, copy_of
from clew_projections.history.histories import read
from clew_projections.history.pending_erasures import Request
from clew_projections.integrity.erasure_extent import Extent, ExtentFold, request_in
from clew_projections.integrity.links import place_of
from clew_projections.kv.bucket import WRONG_REVISION
from clew_projections.nats.jetstream import JetStream, stream_info
from clew_projections.nats.stream_messages import DIGEST, EXPECTED, MSG_ID, TRACE, OutgoingMessage, StoredMessage
from clew_projections.nats.stream_reads import PAGE
from clew_services.erasure.eraser import Eraser, Loss

BLOCK: Final = 8 * 1024 * 1024
"""The most bytes of a block of the log that has more than one message."""
REMNANT: Final = 4 * 1024 * 1024
"""The most bytes that the server leaves of what was purged at the beginning of a block: half of one."""
LEAST: Final = 1000
"""The fewest single deletions that a sweep has to save: four minutes of a shard's budget."""
COPIES: Final = 50
"""The most commits that are copied to save one single deletion."""
MOST: Final = 200_000
"""The most commits of one sweep."""
REST: Final = 1.0
"""How many times as long as it took to copy some commits the sweep rests, so that others can work."""
_BATCH_BYTES: Final = 1024 * 1024
_MORE: Final = 4096
"""The most bytes of the headers of a copy."""
_LEAST_HEAD: Final = 30
"""The fewest bytes of a message in a block besides its subject, its headers and its body."""


class SweepRule(Struct, frozen=True):
    """When a sweep pays, and what it leaves: see the constants of this module."""

    block: int = BLOCK
    remnant: int = REMNANT
    least: int = LEAST
    copies: int = COPIES
    most: int = MOST


RULE: Final = SweepRule()


class NoSweep(Exception):
    """A sweep cannot be had, or does not pay; the message says why."""


class Survey(Struct):
    """The commits at the beginning of a shard, none of which is the last of its thread.

    Each has its sequence, at least how many bytes it takes in its block, and whether it has contents, and loses some.
    """

    seqs: array[int]
    sizes: array[int]
    full: bytearray
    due: bytearray
    limit: int = 0
    """The first sequence after them."""
    why: str = ""
    """Why they are no more."""


class Plan(Struct, frozen=True):
    """A sweep up to ``until``: what is deleted singly, by place in the survey, and how many deletions are saved."""

    until: int
    count: int
    deletions: range
    saved: int


def plan(survey: Survey, rule: SweepRule) -> Plan:
    """Return the sweep that saves most single deletions.

    Raises:
        NoSweep: none saves enough.
    """
    best = -math.inf, Plan(0, 0, range(0), 0)
    first = total = bare = extra = saved = 0
    for place in range(len(survey.seqs) + 1):
        # What begins at ``first`` may be in the same block as what the log begins with after a sweep up to ``place``.
        while first < place and (total > rule.block or bare - _bare(survey, first) > rule.remnant):
            total -= survey.sizes[first]
            bare -= _bare(survey, first)
            extra -= survey.full[first] and not survey.due[first]
            saved += survey.due[first]
            first += 1
        if place and (gain := saved - extra - place / rule.copies) > best[0]:
            until = survey.seqs[place] if place < len(survey.seqs) else survey.limit
            best = gain, Plan(until, place, range(first, place), saved - extra)
        if place < len(survey.seqs):
            total += survey.sizes[place]
            bare += _bare(survey, place)
            extra += survey.full[place] and not survey.due[place]
    gain, found = best
    if not found.count or gain < rule.least:
        raise NoSweep(
            f"of {len(survey.seqs)} commits up to there {sum(survey.due)} lose contents, and a sweep would save "
            f"{found.saved} single deletions"
        )
    return found


def _bare(survey: Survey, place: int) -> int:
    return 0 if survey.full[place] else survey.sizes[place]


class Result(Struct, frozen=True):
    """What a sweep took: the shard up to ``until``, and ``commits``.

    ``extents`` has, by erasure, what is left to be erased singly of those whose whole chain the sweep has seen.
    """

    until: int
    commits: int
    extents: dict[str, Extent]


class LogSweep:
    """A sweep of one shard, for the erasures that are pending there."""

    def __init__(
        self,
        js: JetStream,
        eraser: Eraser,
        shard: int,
        requests: Mapping[str, Sequence[Request]],
        *,
        replicated: bool,
        rule: SweepRule,
        pause: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """``js`` reads the streams as they are. ``requests`` are by the subject of their thread."""
        self._js = js
        self._eraser = eraser
        self.shard = shard
        self._stream = event_stream(shard)
        self._requests = requests
        self._erased = ErasedCommits(js, replicated=replicated)
        self._rule = rule
        self._pause = pause
        self._folds: dict[str, ExtentFold] = {}
        self._numbers: dict[str, int] = {}
        self._due: dict[int, set[int]] = {}
        self.requests = {each.event.erasure: each for some in requests.values() for each in some}
        """The erasures for which it is, by their ids."""
        self.result: Result | None = None
        """What it took, once it is done."""

    async def run(self) -> AsyncGenerator[None, None]:
        """Carry the sweep out, a little between two yields.

        Raises:
            NoSweep: it cannot be had, or does not pay. Nothing was changed.
            Corrupt: the beginning of the shard is damaged.
            Unavailable: JetStream does not answer, or refused. Begin again.
        """
        before = await self._erased.read_swept(self.shard)
        first = (await stream_info(self._js, self._stream)).state.first_seq
        if first < before.until:
            await self._purge(before)  # whoever was at it was killed
        start = before.until or (1 if first == 1 or await self._erased.at(self.shard, [1]) else first)
        survey = Survey(array("Q"), array("Q"), bytearray(), bytearray())
        # From ``start`` on every commit has to be in the log, or to have a copy.
        async for _ in self._survey(start, survey):
            yield
        try:
            planned = await asyncio.to_thread(plan, survey, self._rule)
        except NoSweep as fault:
            raise NoSweep(f"{survey.why}; {fault}") from None
        async for _ in self._copy(start, planned.until):
            yield
        for place in planned.deletions:
            if survey.full[place]:
                seq = survey.seqs[place]
                await self._eraser.erase([Loss(Position(self.shard, seq), self._due.get(seq, ()))])
                yield
        swept = Swept(before.first if before.until else start, planned.until)
        await self._record(before, swept)
        await self._purge(swept)
        extents = await self._extents(planned.until)
        self.result = Result(planned.until, planned.count, extents)

    async def _survey(self, start: int, survey: Survey) -> AsyncGenerator[None, None]:
        """Go through the shard up to the first commit that is the last of its thread."""
        later: dict[str, int] = {}
        survey.limit = start
        while not survey.why:
            page, _ = await self._js.after(self._stream, ">", survey.limit, PAGE)
            await self._check_whole(survey.limit, page)
            unknown = {each.subject for each in page if later.get(each.subject, 0) <= each.seq}
            later |= {each.subject: each.seq for each in (await self._js.lasts(self._stream, [*unknown])).values()}
            for stored in page:
                if later.get(stored.subject, 0) <= stored.seq:
                    survey.why = f"sequence {stored.seq} of {self._stream} is the last of its thread"
                elif len(stored.body) + _MORE > self._js.max_payload:
                    survey.why = f"sequence {stored.seq} of {self._stream} is too large to be copied"
                elif len(survey.seqs) >= self._rule.most:
                    survey.why = f"{self._rule.most} commits are enough for one sweep"
                if survey.why:
                    survey.limit = stored.seq
                    break
                self._take(stored, survey)
            else:
                survey.limit = page[-1].seq + 1 if page else survey.limit
                survey.why = "" if page else f"{self._stream} is empty"
            yield

    def _take(self, stored: StoredMessage, survey: Survey) -> None:
        due = set[int]()
        if requests := self._requests.get(stored.subject):
            recorded = read(stored, self.shard)
            for each in requests:
                if stored.seq < each.seq:
                    due.update(self._fold(each, recorded))
        contents = stored.body.split(b"\n")[1:]
        survey.seqs.append(stored.seq)
        survey.sizes.append(_size(stored))
        survey.full.append(any(contents))
        survey.due.append(any(number < len(contents) and contents[number] for number in due))
        if due:
            self._due[stored.seq] = due

    def _fold(self, request: Request, recorded: Recorded) -> tuple[int, ...]:
        erasure = request.event.erasure
        fold = self._folds.get(erasure)
        if fold is None:
            fold = self._folds[erasure] = ExtentFold(request.event)
        fold.add(recorded)
        if recorded.commit.n == self._numbers.get(erasure, 0) + 1:
            self._numbers[erasure] = recorded.commit.n
        return fold.contents.get(recorded.position, ())

    async def _check_whole(self, seq: int, page: Sequence[StoredMessage]) -> None:
        """Check that every commit that a page does not have was erased before."""
        there = {each.seq for each in page}
        missing = [each for each in range(seq, page[-1].seq if page else seq) if each not in there]
        if lost := set(missing) - (await self._erased.at(self.shard, missing)).keys():
            raise Corrupt(
                f"sequence {min(lost)} of {self._stream} is neither in the log nor erased, so nothing is swept",
                code="missing_commit",
            )

    async def _copy(self, start: int, until: int) -> AsyncGenerator[None, None]:
        """Store what stays of every commit up to a sequence."""
        seq = start
        while seq < until:
            began = time.monotonic()
            page, _ = await self._js.after(self._stream, ">", seq, PAGE)
            wanted = [each for each in page if each.seq < until]
            if not wanted:
                break
            await self._store(wanted)
            seq = page[-1].seq + 1
            yield
            await self._pause(REST * (time.monotonic() - began))

    async def _store(self, page: Sequence[StoredMessage]) -> None:
        known = await self._erased.at(self.shard, [each.seq for each in page])
        batch, size = list[OutgoingMessage](), 0
        for stored in page:
            due = self._due.get(stored.seq, set[int]())
            left = redact(stored.body, due)
            if (copied := known.get(stored.seq)) is None:
                batch.append(copy_of(stored, self.shard, place_of(stored.body), left))
                size += len(left)
            elif redact(copied.body, due) != left:
                raise Corrupt(
                    f"sequence {stored.seq} of {self._stream} is not what is kept of it in {ERASED_STREAM}",
                    code="altered",
                )
            elif copied.body != left:
                await self._eraser.erase([Loss(Position(self.shard, stored.seq), due)])
            if size > _BATCH_BYTES:
                await self._publish(batch)
                batch, size = [], 0
        await self._publish(batch)

    async def _publish(self, batch: Sequence[OutgoingMessage]) -> None:
        guarded = [OutgoingMessage(each.subject, each.body, {**each.headers, EXPECTED: "0"}) for each in batch]
        if guarded and not await self._js.publish_batch(guarded):
            raise Unavailable(
                f"{ERASED_STREAM} did not take the copies of a sweep of {self._stream}", code="not_copied"
            )

    async def _record(self, before: Swept, swept: Swept) -> None:
        stored = await self._js.newest_at_leader(ERASED_STREAM, swept_subject(self.shard), 0)
        guard = {EXPECTED: str(stored.seq if stored is not None else 0)}
        if await self._erased.read_swept(self.shard) == before:
            ack = await self._js.publish(swept_subject(self.shard), msgspec.json.encode(swept), guard)
            if ack.error is None:
                return
            if ack.error.err_code not in WRONG_REVISION:
                raise Unavailable(f"{ERASED_STREAM} refused a record: {ack.error.description}", code="record_refused")
        raise Unavailable(f"another process sweeps {self._stream}", code="sweep_under_way")

    async def _purge(self, swept: Swept) -> None:
        if swept.until <= 1:
            raise ValueError(swept)  # the server would purge everything
        await self._js.api(f"STREAM.PURGE.{self._stream}", {"seq": swept.until})
        if (first := (await stream_info(self._js, self._stream)).state.first_seq) < swept.until:
            raise Unavailable(f"{self._stream} still begins with sequence {first}", code="not_purged")

    async def _extents(self, until: int) -> dict[str, Extent]:
        whole = {erasure: self.requests[erasure] for erasure in self._folds}
        stored = await self._js.at(self._stream, [each.seq for each in whole.values()])
        extents: dict[str, Extent] = {}
        for erasure, message in zip(whole, stored, strict=True):
            requested = read(message, self.shard) if message is not None else None
            if requested is None or self._numbers.get(erasure) != requested.commit.n - 1:
                continue
            if (event := request_in(requested, erasure)) is not None:
                fold = self._folds[erasure]
                left = {at: numbers for at, numbers in fold.contents.items() if at.seq >= until}
                extents[erasure] = Extent(requested, event, left, fold.taken)
        return extents


def _size(stored: StoredMessage) -> int:
    """At least how many bytes a message takes in its block."""
    kept = (name for name in (MSG_ID, EXPECTED, DIGEST, TRACE) if name in stored.headers)
    return (
        _LEAST_HEAD
        + len(stored.subject)
        + len(stored.body)
        + sum(len(name) + len(stored.headers[name]) + len(": \r\n") for name in kept)
    )
