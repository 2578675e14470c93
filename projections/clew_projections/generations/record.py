"""The record of generations: which is live, which is being built, which are kept. A stored format.

It is one value, under the key ``threads`` of the bucket ``clew_generations``; an :class:`Alias` reads and changes it. A
number is used once, so a cache of a generation's buckets never applies to other buckets of the same name: a live
generation whose buckets are gone is followed by the next number.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from typing import Final, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from clew_events.backoff import delays
from clew_events.codec import UNREADABLE
from clew_events.errors import Conflict, Corrupt, Invalid, NotFound, Unavailable
from clew_events.subjects import LIVE
from clew_projections.kv.bucket import Bucket, LostRace
from clew_projections.nats.jetstream import JetStream

Standing = Literal["building", "kept", "removing"]


class Generation(Struct, frozen=True, kw_only=True):
    """One generation. ``fold`` is the version of the fold that makes its views; ``made_at`` is when its build began.

    ``standing`` is ``building``, ``kept`` (the live generation, or one to go back to), or ``removing`` (parts of it may
    be removed already).
    """

    number: int
    fold: int
    standing: Standing = "kept"
    made_at: datetime


class Record(Struct, frozen=True, kw_only=True):
    """The value under ``threads`` in the bucket ``clew_generations``. ``last`` is the highest number ever used.

    ``repairs`` counts repairs of views: a process that sees it change drops its cached views, which may be wrong.
    """

    live: int
    last: int
    generations: tuple[Generation, ...]
    switched_at: datetime | None = None
    repairs: int = 0

    @property
    def current(self) -> Generation:
        """The live generation."""
        return self.generation(self.live)

    @property
    def building(self) -> Generation | None:
        """The generation that is being built; ``None`` if there is none."""
        return next((generation for generation in self.generations if generation.standing == "building"), None)

    def keeps(self, number: int) -> bool:
        """Whether a generation is in the record and is not being removed, so that nothing of it may be missing."""
        return any(each.number == number and each.standing != "removing" for each in self.generations)

    def generation(self, number: int) -> Generation:
        """Return a generation by number.

        Raises:
            NotFound: there is no such generation.
        """
        for generation in self.generations:
            if generation.number == number:
                return generation
        raise NotFound(
            f"there is no generation {number}: see 'clew rebuild list'", code="generation_not_found", param="number"
        )


def first(fold: int, now: datetime, number: int = 1) -> Record:
    """Return the record of a new deployment, or with a higher ``number`` that of one that has lost its record."""
    return Record(live=number, last=number, generations=(Generation(number=number, fold=fold, made_at=now),))


def begin_build(record: Record, fold: int, now: datetime) -> Record:
    """Return the record with a generation being built by a fold: the current build, or the next number.

    Raises:
        Conflict: another fold is building a generation.
    """
    building = record.building
    if building is not None:
        if building.fold != fold:
            raise Conflict(
                f"generation {building.number} is being built by a version of Clew with fold {building.fold}, and this "
                f"one has fold {fold}: let that finish, or abandon it with 'clew rebuild remove {building.number}'",
                code="rebuild_under_way",
            )
        return record
    made = Generation(number=record.last + 1, fold=fold, standing="building", made_at=now)
    return replace(record, last=made.number, generations=(*record.generations, made))


def switch_to(record: Record, number: int, now: datetime) -> Record:
    """Return the record with another generation live; the former live generation is kept.

    Raises:
        NotFound: there is no such generation.
        Invalid: it is being removed.
    """
    chosen = record.generation(number)
    if chosen.standing == "removing":
        raise Invalid(f"generation {number} is being removed", code="generation_removed", param="number")
    if record.live == number:
        return record
    return _with(replace(record, live=number, switched_at=now), replace(chosen, standing="kept"))


def record_repair(record: Record) -> Record:
    """Return the record after a repair of views of the live generation."""
    return replace(record, repairs=record.repairs + 1)


def begin_removal(record: Record, number: int) -> Record:
    """Return the record with a generation marked as ``removing``.

    Raises:
        NotFound: there is no such generation.
        Invalid: it is live.
    """
    chosen = record.generation(number)
    if record.live == number:
        raise Invalid(
            f"generation {number} is live: switch to another first, with 'clew rebuild threads' or 'clew rebuild back'",
            code="generation_live",
            param="number",
        )
    return _with(record, replace(chosen, standing="removing"))


def end_removal(record: Record, number: int) -> Record:
    """Return the record without a generation that was marked as ``removing``."""
    others = (each for each in record.generations if each.number != number or each.standing != "removing")
    return replace(record, generations=tuple(others))


def before(record: Record) -> int:
    """Return the number of the nearest kept generation before the live one, or else the nearest after it.

    Raises:
        NotFound: none is kept.
    """
    kept = [each.number for each in record.generations if each.standing == "kept" and each.number != record.live]
    earlier = [number for number in kept if number < record.live]
    if not kept:
        raise NotFound(
            "no other generation is kept to go back to: see 'clew rebuild list'", code="generation_not_found"
        )
    return max(earlier) if earlier else min(kept)


_DECODER: Final = msgspec.json.Decoder(Record)


def decode(body: bytes) -> Record:
    """Decode a record.

    Raises:
        Corrupt: the bytes are not a record.
    """
    try:
        record = _DECODER.decode(body)
        _ = record.current
    except (*UNREADABLE, NotFound) as fault:
        raise Corrupt(
            f"the record of generations is unreadable ({fault}): restore the bucket clew_generations from a backup",
            code="unreadable_generations",
        ) from fault
    return record


def _with(record: Record, changed: Generation) -> Record:
    generations = (changed if each.number == changed.number else each for each in record.generations)
    return replace(record, generations=tuple(generations))


GENERATIONS: Final = "clew_generations"
KEY: Final = "threads"
LIVE_GENERATIONS: Final = f"{LIVE}.generations"
"""The subject on which the server republishes a changed record: ``clew.live.generations.threads``."""
_TRIES: Final = 10


class StoredRecord(Struct, frozen=True):
    """A record and its revision. A later record has a higher revision."""

    record: Record
    revision: int


class Alias:
    """Reads and changes the record. Reads go to the leader; writes are guarded by the revision."""

    def __init__(self, js: JetStream) -> None:
        self._js = js
        self._bucket = Bucket(js, GENERATIONS)

    async def read(self) -> StoredRecord | None:
        """Read the record; ``None`` if there is none.

        Raises:
            Corrupt: the record is unreadable.
            Unavailable: the bucket does not answer.
        """
        stored = await self._js.newest_at_leader(self._bucket.stream, self._bucket.subject(KEY), 0)
        return StoredRecord(decode(stored.body), stored.seq) if stored is not None else None

    async def read_record(self) -> StoredRecord:
        """Read the record of an initialised deployment.

        Raises:
            Unavailable: there is no record, or the bucket does not answer.
            Corrupt: the record is unreadable.
        """
        stored = await self.read()
        if stored is None:
            raise Unavailable("no generation of buckets is on record yet: run 'clew init'", code="not_initialised")
        return stored

    async def begin(self, record: Record) -> None:
        """Write the first record, unless there is one."""
        try:
            await self._bucket.put(KEY, msgspec.json.encode(record), 0)
        except LostRace:
            return

    async def change(self, change: Callable[[Record], Record]) -> StoredRecord:
        """Change the record and return the new one. Retries after a concurrent change.

        ``change`` is a pure function of the record and may be called again. Its errors are raised.

        Raises:
            Unavailable: the bucket does not answer, or others keep changing the record.
            Corrupt: the record is unreadable.
        """
        pauses = delays()
        for _ in range(_TRIES):
            stored = await self.read_record()
            changed = change(stored.record)
            if changed == stored.record:
                return stored
            try:
                return StoredRecord(changed, await self._bucket.put(KEY, msgspec.json.encode(changed), stored.revision))
            except LostRace:
                await asyncio.sleep(next(pauses))
        raise Unavailable("others keep changing the record of generations", code="generations_contended")
