"""The record of generations: which is live, which is being built, which are kept. A stored format, and pure.

A number is given once. What a process remembers of a generation's buckets is therefore never taken for what another
bucket of that name would hold: a live generation whose buckets are gone is followed by the next one, not made again.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from clew_events.codec import UNREADABLE
from clew_events.errors import Conflict, Corrupt, Invalid, NotFound

Standing = Literal["building", "kept", "removing"]


class Generation(Struct, frozen=True, kw_only=True):
    """One generation. ``fold`` is the number of the fold that makes its views; ``made_at`` is when it was begun.

    ``standing`` says what is to become of one that is not live: it is ``building``, ``kept`` to go back to, or
    ``removing``, of which some may be gone already. The live one is ``kept``.
    """

    number: int
    fold: int
    standing: Standing = "kept"
    made_at: datetime


class Record(Struct, frozen=True, kw_only=True):
    """The value under ``threads`` in the bucket ``clew_generations``. ``last`` is the highest number ever given.

    ``repairs`` counts repairs of views: who sees it go up forgets every view it remembers, since it may be a wrong one.
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
        """The one that is being built, if one is."""
        return next((each for each in self.generations if each.standing == "building"), None)

    def generation(self, number: int) -> Generation:
        """One generation.

        Raises:
            NotFound: there is none of that number.
        """
        for each in self.generations:
            if each.number == number:
                return each
        raise NotFound(
            f"there is no generation {number}: see 'clew rebuild list'", code="generation_not_found", param="number"
        )


def first(fold: int, now: datetime, number: int = 1) -> Record:
    """The record of a new deployment, or with a higher ``number`` of one that has lost its record."""
    return Record(live=number, last=number, generations=(Generation(number=number, fold=fold, made_at=now),))


def begin_build(record: Record, fold: int, now: datetime) -> Record:
    """The record with a generation being built by a fold: the one that is already, or the next number.

    Raises:
        Conflict: another fold is building one.
    """
    building = record.building
    if building is not None:
        if building.fold != fold:
            raise Conflict(
                f"generation {building.number} is being built by a version of Clew with fold {building.fold}, and this "
                f"one has fold {fold}: let that finish, or give it up with 'clew rebuild remove {building.number}'",
                code="rebuild_under_way",
            )
        return record
    made = Generation(number=record.last + 1, fold=fold, standing="building", made_at=now)
    return replace(record, last=made.number, generations=(*record.generations, made))


def switch_to(record: Record, number: int, now: datetime) -> Record:
    """The record with another generation live; the one before is kept.

    Raises:
        NotFound: there is none of that number.
        Invalid: it is being removed.
    """
    chosen = record.generation(number)
    if chosen.standing == "removing":
        raise Invalid(f"generation {number} is being removed", code="generation_removed", param="number")
    if record.live == number:
        return record
    return _with(replace(record, live=number, switched_at=now), replace(chosen, standing="kept"))


def record_repair(record: Record) -> Record:
    """The record after views of the live generation were repaired."""
    return replace(record, repairs=record.repairs + 1)


def begin_removal(record: Record, number: int) -> Record:
    """The record with a generation on its way out.

    Raises:
        NotFound: there is none of that number.
        Invalid: it is the live one.
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
    """The record without a generation that was on its way out."""
    left = (each for each in record.generations if each.number != number or each.standing != "removing")
    return replace(record, generations=tuple(left))


def before(record: Record) -> int:
    """The number of the kept generation that is nearest before the live one, or failing that the nearest after.

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
    """A record from its bytes.

    Raises:
        Corrupt: they are none.
    """
    try:
        record = _DECODER.decode(body)
        _ = record.current
    except (*UNREADABLE, NotFound) as fault:
        raise Corrupt(
            f"the record of generations cannot be read ({fault}): restore the bucket clew_generations from a backup",
            code="unreadable_generations",
        ) from fault
    return record


def _with(record: Record, changed: Generation) -> Record:
    generations = (changed if each.number == changed.number else each for each in record.generations)
    return replace(record, generations=tuple(generations))
