"""The worker that carries out erasures, each in steps that can be repeated, until nothing is left of what was erased.

A request is carried out in two parts. First the contents leave the log and everything that answers questions: then the
erasure is *erased*. Then the bytes go that nothing reads any more, in buckets and in the inbox, which is done for many
erasures together; the worker looks whether all is gone, signs the certificate, and records in the thread's chain that
the erasure is *completed*.

Nothing is remembered between two lives of a process but the records: what was done is done again, and costs little.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from clew_events import ids
from clew_events.commands import CompleteErasure
from clew_events.erasures import Erasure
from clew_events.errors import ClewError, Conflict, Corrupt, Invalid, Unavailable
from clew_events.subjects import ERASED_STREAM, Address, event_stream, event_subject
from clew_projections.history.histories import Histories
from clew_projections.history.pending_erasures import ErasureRecord, Request
from clew_projections.indexer.machines import SILENT, Machine, Machines
from clew_projections.indexer.snapshots import Snapshots
from clew_projections.integrity.erasure_extent import Extent, read_extent
from clew_projections.kv.bucket import Bucket
from clew_projections.nats.jetstream import JetStream, stream_info
from clew_projections.nats.stream_reads import PAGE
from clew_projections.wait import run_all, run_until_first
from clew_services.checkpoints.key_file import load_key
from clew_services.checkpoints.note import SigningKey
from clew_services.erasure.certificate import Knowledge, certify
from clew_services.erasure.copy_records import CopyRecord, known_copies
from clew_services.erasure.eraser import NOT_DELETED, NOT_OVERWRITTEN, Eraser, Loss
from clew_services.erasure.log_sweep import RULE, LogSweep, NoSweep, SweepRule
from clew_services.erasure.records import ErasureRecords
from clew_services.eventstore.topology import LEASES
from clew_services.inbox import rejections
from clew_services.inbox.remains import last_sequence, remains_of
from clew_services.lease import Lease
from clew_services.rebuild.view_renewal import ViewRenewal
from clew_services.settings import Settings
from clew_services.threads.handler import Commands

LEASE: Final = "erasure"
LOOK: Final = 1.0
"""Seconds between two looks at what is pending."""
ROUND: Final = 10.0
"""Seconds for which contents leave each shard before the worker turns to what follows, so that none waits for all."""
AT_ONCE: Final = 64
"""Erasures that are settled or completed side by side: their records and commits are then stored together."""
REST: Final = 10.0
"""How many times as long as a renewal took no other is made while further erasures still leave the log."""
MANY: Final = 100
"""Erasures pending in a shard from which on a sweep is considered."""
UNSWEPT: Final = 3600.0
"""Seconds after which a sweep is considered again that could not be had; before that when twice as many are pending."""
REFUSED: Final = 30.0
"""Seconds until an erasure that failed is tried again."""
NEVER_ASKED: Final = timedelta(seconds=60)
"""Age of a record whose request is not in the log by then: its caller was told of no success."""
RENEWALS_APART: Final = 24 * 3600.0
"""Seconds between two renewals of large buckets, each for all erasures since the one before."""
WHO: Final = "clew"
BY: Final = "erasure"

_LOG: Final = logging.getLogger("clew.erasure")


class ErasureParts(Struct, frozen=True):
    """What the worker uses. ``js`` reads the streams as they are; ``histories`` reads the log as it was written."""

    js: JetStream
    records: ErasureRecords
    histories: Histories
    eraser: Eraser
    machines: Machines
    snapshots: Snapshots
    renewal: ViewRenewal
    commands: Commands
    replicated: bool


class _Leaving(Struct):
    """An erasure whose contents are leaving the log: ``done`` of the commits of its extent have lost theirs."""

    extent: Extent
    done: int = 0


class _Task(Struct):
    """An erasure whose contents have left the log: what this process knows of it beside the record."""

    extent: Extent
    generation: int
    """Buckets up to this generation may have bytes of it."""
    inbox: int
    """Commands up to this sequence may have bytes of it."""
    rejected: int = 0


class Worker:
    """Carries out the erasures of a deployment."""

    def __init__(
        self,
        parts: ErasureParts,
        key: SigningKey,
        *,
        encrypted: bool = False,
        rule: SweepRule = RULE,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """``encrypted`` if JetStream encrypts its files, and so overwrites nothing; the certificate then says so.

        ``rule`` is when a sweep pays.
        """
        self._parts = parts
        self._key = key
        self._encrypted = encrypted
        self._rule = rule
        self._sweep: tuple[LogSweep, AsyncGenerator[None, None]] | None = None
        self._unswept: dict[int, tuple[int, float]] = {}
        """By shard, how many erasures were pending there when a sweep could not be had, and when that was."""
        self._clock = clock
        self._records: dict[str, ErasureRecord] = {}
        self._leaving: dict[str, _Leaving] = {}
        self._tasks: dict[str, _Task] = {}
        self._retry_at: dict[str, float] = {}
        self._left: dict[str, list[str]] = {}
        """By erasure, what could not be overwritten. It is in the record as soon as that can be written."""
        self._following = False
        self._renewed_at = -RENEWALS_APART
        self._rested_at = 0.0

    async def step(self) -> int:
        """Carry every pending erasure as far as it goes now, and return how many are left.

        Shards are gone through side by side, each for :data:`ROUND` seconds. Why an erasure cannot go on is logged, and
        kept in its record; the others go on.

        Raises:
            Unavailable: JetStream does not answer, or refuses; what it hinders is tried again by the next step.
        """
        self._records = {each.erasure.id: each for each in await self._parts.records.pending()}
        for known in (self._leaving, self._tasks):
            for id_ in [each for each in known if each not in self._records]:  # another process completed it
                del known[id_]
        now, new = time.monotonic(), dict[int, list[ErasureRecord]]()
        for id_, record in self._records.items():
            if id_ not in self._tasks and now >= self._retry_at.get(id_, 0.0):
                shard = self._parts.histories.shard(Address(record.tenant, record.erasure.thread_id))
                new.setdefault(shard, []).append(record)
        faults: list[Unavailable] = []

        async def collect(work: Awaitable[None]) -> None:
            try:
                await work
            except Unavailable as fault:
                faults.append(fault)

        swept = self._choose_sweep(new)
        await run_all(
            collect(self._follow()),
            *(collect(self._clear(records)) for shard, records in new.items() if shard not in swept),
            *((collect(self._go_on_sweeping()),) if self._sweep is not None else ()),
        )
        if new and all(each.erasure.id in self._tasks for records in new.values() for each in records):
            await collect(self._follow())
        if faults:
            raise faults[0]
        await self._parts.records.raise_floor()
        return len(self._records)

    def _choose_sweep(self, new: Mapping[int, Sequence[ErasureRecord]]) -> set[int]:
        """Begin a sweep if many erasures of a shard are pending, and return the shards that wait for theirs."""
        now, wanted = time.monotonic(), dict[int, list[ErasureRecord]]()
        for shard, records in new.items():
            count, at = self._unswept.get(shard, (0, 0.0))
            entering = [each for each in records if each.erasure.id not in self._leaving]
            requested = [each for each in entering if each.erasure.position is not None]
            again = count == 0 or len(requested) >= 2 * count or now - at >= UNSWEPT
            if len(requested) >= MANY and again:
                wanted[shard] = requested
        if self._sweep is None and wanted:
            shard = max(wanted, key=lambda each: len(wanted[each]))
            requests: dict[str, list[Request]] = {}
            for record in wanted[shard]:
                erasure = record.erasure
                assert erasure.position is not None
                subject = event_subject(shard, Address(record.tenant, erasure.thread_id))
                request = Request(erasure.position.seq, erasure.request)
                requests.setdefault(subject, []).append(request)
            sweep = LogSweep(
                self._parts.js,
                self._parts.eraser,
                shard,
                requests,
                replicated=self._parts.replicated,
                rule=self._rule,
            )
            self._sweep = sweep, sweep.run()
        return {*wanted, *((self._sweep[0].shard,) if self._sweep is not None else ())}

    async def _go_on_sweeping(self) -> None:
        """Carry the sweep on until the round is over."""
        assert self._sweep is not None
        (sweep, running), until = self._sweep, time.monotonic() + ROUND
        try:
            while not self._is_over(until):
                await anext(running)
        except StopAsyncIteration:
            self._sweep = None
        except (NoSweep, Corrupt) as fault:
            self._sweep = None
            self._unswept[sweep.shard] = len(sweep.requests), time.monotonic()
            level = logging.INFO if isinstance(fault, NoSweep) else logging.ERROR
            _LOG.log(level, "shard %d is not swept, and contents go one by one: %s", sweep.shard, fault)
        except Unavailable:
            self._sweep = None  # it begins again, and finds what was done
            self._unswept[sweep.shard] = len(sweep.requests), time.monotonic() - UNSWEPT + REFUSED
            raise
        if (result := sweep.result) is not None:
            self._leaving |= {each: _Leaving(extent) for each, extent in result.extents.items()}
            _LOG.info("shard %d was swept up to %d: %d commits", sweep.shard, result.until, result.commits)

    async def _follow(self) -> None:
        """Carry on with what has left the log, together."""
        self._following = True
        try:
            await self._settle(self._at_hand("requested"))
            await self._finish(self._at_hand("erased"))
        finally:
            self._following = False

    def _is_over(self, until: float) -> bool:
        """Whether a round is over. It goes on while what follows takes longer, as buckets that are made anew do."""
        return time.monotonic() >= until and not self._following

    def _at_hand(self, status: str) -> list[ErasureRecord]:
        known = (self._records.get(each) for each in self._tasks)
        return [each for each in known if each is not None and each.erasure.status == status]

    async def _clear(self, records: Sequence[ErasureRecord]) -> None:
        """Take contents of erasures of one shard out of the log, one after the other, until the round is over."""
        until, gone = time.monotonic() + ROUND, list[str]()
        hindrance: Unavailable | None = None

        async def leave(record: ErasureRecord) -> None:
            if await self._leave(record, until):
                gone.append(record.erasure.id)

        for record in records:
            try:
                await self._try(record, leave)
            except Unavailable as fault:
                hindrance = fault
                break
            if self._is_over(until):
                break
        await self._hand_over([self._records[each] for each in gone])
        if hindrance is not None:
            raise hindrance

    async def _try(self, record: ErasureRecord, do: Callable[[ErasureRecord], Awaitable[None]]) -> None:
        erasure = record.erasure
        if time.monotonic() < self._retry_at.get(erasure.id, 0.0):
            return
        try:
            await do(record)
        except Unavailable as fault:
            if fault.code == NOT_OVERWRITTEN:
                self._left.setdefault(erasure.id, []).append(fault.message.partition(": ")[0])
            if fault.code in {NOT_DELETED, NOT_OVERWRITTEN}:
                with contextlib.suppress(Unavailable):  # a full disk may take the record, or not
                    await self._note(record, fault)
            raise
        except ClewError as fault:
            self._retry_at[erasure.id] = time.monotonic() + REFUSED
            _LOG.error("the erasure %s of tenant %s cannot go on: %s", erasure.id, record.tenant, fault)
            await self._note(record, fault)

    async def _note(self, record: ErasureRecord, fault: ClewError) -> None:
        """Have the record of an erasure say what it waits for."""
        newest = await self._parts.records.find(record.tenant, record.erasure.id)
        if newest is not None and newest.erasure.fault != fault.message:
            await self._write(newest, replace(newest.erasure, fault=fault.message))

    async def _leave(self, record: ErasureRecord, until: float) -> bool:
        """Take contents of an erasure out of the log until the round is over; return whether none is left."""
        erasure = record.erasure
        leaving = self._leaving.get(erasure.id)
        if leaving is None:
            extent = await read_extent(
                self._parts.histories.after(Address(record.tenant, erasure.thread_id), 0), erasure
            )
            if extent is None:
                if self._clock() - erasure.requested_at > NEVER_ASKED:
                    never = "its request never came into the log: ask again"
                    await self._write(record, replace(erasure, status="failed", fault=never))
                return False
            leaving = self._leaving[erasure.id] = _Leaving(extent)
        requested = leaving.extent.requested
        erasure = replace(erasure, n=requested.commit.n, position=requested.position, fault=None)
        told = time.monotonic()
        for position, numbers in list(leaving.extent.contents.items())[leaving.done :]:
            await self._parts.eraser.erase([Loss(position, numbers)])
            leaving.done += 1
            now = time.monotonic()
            if now - told > LOOK or self._is_over(until):
                told = now
                record = await self._write(record, replace(erasure, commits=leaving.done))
            if self._is_over(until):
                break
        if leaving.done < len(leaving.extent.contents):
            return False
        await self._check_gone(leaving.extent)
        return True

    async def _hand_over(self, records: Sequence[ErasureRecord]) -> None:
        """Note of erasures that have left the log what else may have bytes of them."""
        if not records:
            return
        leaving = [self._leaving[each.erasure.id] for each in records]
        rejected = await rejections.erase(self._parts.js, [_concern(each.extent) for each in leaving])
        generation, inbox = await self._parts.renewal.newest(), await last_sequence(self._parts.js)

        async def note(record: ErasureRecord, extent: Extent, rejected: int) -> None:
            requested, commits = extent.requested, extent.taken.commits
            known = replace(record.erasure, n=requested.commit.n, position=requested.position, fault=None)
            await self._write(record, replace(known, commits=commits))
            self._tasks[record.erasure.id] = _Task(extent, generation, inbox, rejected)
            del self._leaving[record.erasure.id]

        for start in range(0, len(records), AT_ONCE):
            some = slice(start, start + AT_ONCE)
            extents, numbers = (each.extent for each in leaving[some]), map(len, rejected[some])
            await run_all(*map(note, records[some], extents, numbers))

    async def _check_gone(self, extent: Extent) -> None:
        """Check that the log's streams have none of the commits that lost contents.

        Raises:
            Corrupt: one is still there.
        """
        stream = event_stream(extent.requested.position.shard)
        seqs = [position.seq for position in extent.contents]
        for start in range(0, len(seqs), PAGE):
            for stored in await self._parts.js.at(stream, seqs[start : start + PAGE]):
                if stored is not None:
                    raise Corrupt(f"sequence {stored.seq} of {stream} was erased and is still there", code="not_erased")

    async def _settle(self, records: Sequence[ErasureRecord]) -> None:
        """Say of erasures that nothing answers with what they took, once that holds of every index."""
        machines = await self._parts.machines.all() if records else []
        now = self._clock()
        ready = [
            record
            for record in records
            if not any(now - machine.seen_at < SILENT for machine in self._late(machines, record))
        ]
        if ready:
            await self._parts.snapshots.purge()
        for start in range(0, len(ready), AT_ONCE):
            some = ready[start : start + AT_ONCE]
            await run_all(*(self._write(each, replace(each.erasure, status="erased", erased_at=now)) for each in some))

    def _late(self, machines: Sequence[Machine], record: ErasureRecord) -> list[Machine]:
        """The machines whose index may still have what an erasure took."""
        position = self._tasks[record.erasure.id].extent.requested.position
        return [machine for machine in machines if machine.may_have({position.shard: position.seq})]

    async def _finish(self, records: Sequence[ErasureRecord]) -> None:
        """Remove what is left in the files of buckets, and complete the erasures of which nothing is left."""
        if not records:
            return
        tasks, renewal = {each.erasure.id: self._tasks[each.erasure.id] for each in records}, self._parts.renewal
        newest = max(task.generation for task in tasks.values())
        if not await renewal.is_done(newest) and await self._may_renew():
            began = time.monotonic()
            try:
                await renewal.run(newest)
            except (Conflict, Corrupt) as fault:
                _LOG.error("the buckets were not made anew after an erasure: %s", fault)
            self._renewed_at = time.monotonic()
            self._rested_at = self._renewed_at + REST * (self._renewed_at - began)
        renewed = {each: await renewal.is_done(each) for each in {task.generation for task in tasks.values()}}
        inbox = await self._emptied({task.inbox for task in tasks.values()})
        done = [
            each for each in records if renewed[(task := tasks[each.erasure.id]).generation] and task.inbox <= inbox
        ]
        shards = {each.erasure.id: tasks[each.erasure.id].extent.requested.position.shard for each in done}
        missing = {shard: await self._missing_replica(shard) for shard in set(shards.values())}
        ready: list[ErasureRecord] = []
        for record in done:
            if (absent := missing[shards[record.erasure.id]]) is not None:
                await self._note(record, absent)
            else:
                ready.append(record)
        machines = await self._parts.machines.all() if ready else []
        copies = await known_copies(self._parts.js) if ready else ()
        for start in range(0, len(ready), AT_ONCE):
            some = ready[start : start + AT_ONCE]
            # A command that was in the inbox may have been rejected since.
            rejected = await rejections.erase(
                self._parts.js, [_concern(tasks[each.erasure.id].extent) for each in some]
            )
            for record, numbers in zip(some, rejected, strict=True):
                tasks[record.erasure.id].rejected += len(numbers)
            await run_all(*(self._try(record, partial(self._complete, machines, copies)) for record in some))

    async def _emptied(self, inbox: set[int]) -> int:
        """The highest of some sequences of the inbox up to which nothing is left of it; -1 if there is none."""
        for seq in sorted(inbox, reverse=True):
            if await remains_of(self._parts.js, seq) == "gone":
                return seq
        return -1

    async def _missing_replica(self, shard: int) -> Unavailable | None:
        """Why a server may still have what was erased: it is down, or has not followed yet."""
        for stream in (event_stream(shard), ERASED_STREAM):
            replicas = (await stream_info(self._parts.js, stream)).cluster.replicas
            if not all(replica.current for replica in replicas):
                return Unavailable(f"a server with a replica of {stream} is down, or has not followed yet")
        return None

    async def _may_renew(self) -> bool:
        now = time.monotonic()
        staying = [self._records[each].erasure for each in self._records.keys() - self._tasks.keys()]
        if now < self._rested_at and any(each.position is not None for each in staying):
            return False  # others are still leaving the log, and can share the next one
        return now - self._renewed_at >= RENEWALS_APART or (await self._parts.renewal.cost()).is_small

    async def _complete(self, machines: Sequence[Machine], copies: Sequence[CopyRecord], record: ErasureRecord) -> None:
        erasure, task = record.erasure, self._tasks[record.erasure.id]
        await self._check_gone(task.extent)
        known = Knowledge(
            left=erasure.left,
            rejected=task.rejected,
            machines=len(machines),
            late=self._late(machines, record),
            copies=copies,
            encrypted=self._encrypted,
            replicated=self._parts.replicated,
        )
        now = self._clock()
        made = certify(task.extent, known, erased_at=erasure.erased_at or now, completed_at=now, key=self._key)
        certificate = await self._parts.records.keep_certificate(made)
        command = CompleteErasure(
            id=ids.derive_id("cmd_completed_", erasure.id),
            thread_id=erasure.thread_id,
            erasure=erasure.id,
            certificate=certificate.hash,
        )
        await self._parts.commands.handle(record.tenant, command, actor=WHO, by=BY)
        completed_at = certificate.certificate.completed_at
        done = replace(erasure, status="completed", completed_at=completed_at, certificate=certificate.hash, fault=None)
        await self._write(record, done)
        for each in (self._tasks, self._retry_at, self._left, self._records):
            each.pop(erasure.id, None)
        _LOG.info("the erasure %s of tenant %s is completed", erasure.id, record.tenant)

    async def _write(self, record: ErasureRecord, erasure: Erasure) -> ErasureRecord:
        """Write the next record of an erasure.

        Raises:
            Unavailable: somebody else wrote it meanwhile.
        """
        left = dict.fromkeys((*erasure.left, *self._left.get(erasure.id, ())))
        erasure = replace(erasure, left=tuple(left))
        if erasure == record.erasure:
            return record
        written = await self._parts.records.write(record.tenant, erasure, record.revision)
        if written is None:
            raise Unavailable(f"the record of the erasure {erasure.id} was changed by another process")
        self._records[erasure.id] = written
        if erasure.status in {"completed", "failed"}:
            del self._records[erasure.id]
        return written


def _concern(extent: Extent) -> rejections.Concern:
    commit = extent.requested.commit
    return rejections.Concern(Address(commit.tenant, commit.thread), extent.request.items)


async def serve_erasure(
    parts: ErasureParts, settings: Settings, stop: asyncio.Event, ready: asyncio.Event | None = None
) -> None:
    """Carry out erasures until ``stop`` is set; an unfinished one goes on in the next life of a process.

    One process of the deployment does so at a time.

    Raises:
        Invalid: there is no signing key, without which nothing can be certified.
    """
    key = load_key(settings.signing_key_file)
    if key is None:
        raise Invalid(
            f"there is no signing key in {settings.signing_key_file}, with which erasures are certified: create one "
            "with 'clew checkpoint keygen'",
            code="no_key",
            param="signing_key",
        )
    worker = Worker(parts, key, encrypted=settings.encrypted_at_rest == "yes")
    if ready is not None:
        ready.set()

    async def work() -> None:
        while True:
            await worker.step()
            await asyncio.sleep(LOOK)

    await run_until_first(Lease(Bucket(parts.js, LEASES), LEASE).work(work, LOOK), stop.wait())
