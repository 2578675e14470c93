"""The generations there are: looked at, gone back to, removed."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from msgspec import Struct

from clew_events.errors import Corrupt, Invalid, Unavailable
from clew_projections.generations import record
from clew_projections.generations.record import Generation, Record, Standing
from clew_projections.nats.jetstream import stream_state
from clew_services.compose import Clew
from clew_services.eventstore import generation_streams

_NOT_THERE: Final = frozenset({"jetstream_10059", "jetstream_10014"})


class KeptGeneration(Struct, frozen=True, kw_only=True):
    """One generation as it is: ``behind`` counts the commits it does not hold yet.

    Where nothing is left of it ``threads``, ``bytes`` and ``behind`` are absent.
    """

    generation: int
    live: bool
    standing: Standing
    fold: int
    made_at: datetime
    threads: int | None
    bytes: int | None
    behind: int | None


async def list_kept(clew: Clew) -> list[KeptGeneration]:
    """Every generation on record.

    Raises:
        Unavailable: JetStream does not answer.
    """
    known = (await clew.live.alias.read_record()).record
    return [await _describe_kept(clew, known, each) for each in known.generations]


async def go_back(clew: Clew, number: int | None = None) -> Record:
    """Make another generation live: the one before, or the one of a number.

    What it has missed it catches up with by itself; answers are right meanwhile.

    Raises:
        NotFound: there is no such generation.
        Invalid: it is being built or removed.
        Corrupt: it is not all there.
        Unavailable: JetStream does not answer.
    """
    size = clew.deployment
    chosen = number or record.before((await clew.live.alias.read_record()).record)

    def back(each: Record) -> Record:
        if each.generation(chosen).standing == "building":
            raise Invalid(
                f"generation {chosen} is being built: finish it with 'clew rebuild threads'",
                code="generation_unfinished",
                param="number",
            )
        return record.switch_to(each, chosen, datetime.now(UTC))

    back((await clew.live.alias.read_record()).record)
    try:
        await generation_streams.verify_generation(clew.js, chosen, shards=size.shards, replicas=size.replicas)
    except Corrupt as fault:
        raise Corrupt(
            f"generation {chosen} cannot be gone back to, since {fault.message.partition(': run')[0]}. "
            f"Build another with 'clew rebuild threads'",
            code=fault.code,
        ) from fault
    changed = await clew.live.alias.change(back)
    clew.live.update(changed)
    return changed.record


async def remove(clew: Clew, number: int) -> None:
    """Delete a generation that is not live, finished or not. Safe to repeat, and to interrupt.

    Raises:
        NotFound: there is no such generation.
        Invalid: it is live.
        Unavailable: JetStream does not answer.
    """
    await clew.live.alias.change(lambda each: record.begin_removal(each, number))
    await generation_streams.remove_generation(clew.js, number, shards=clew.deployment.shards)
    await clew.live.alias.change(lambda each: record.end_removal(each, number))


async def _describe_kept(clew: Clew, known: Record, each: Generation) -> KeptGeneration:
    threads: int | None = None
    size: int | None = None
    behind: int | None = None
    side = clew.side(each)
    try:
        states = [await stream_state(clew.js, bucket.stream) for bucket in side.buckets]
        threads, size = states[0].num_subjects, sum(state.bytes for state in states)
        projected = [await clew.checkpoint(shard, side).state() for shard in range(clew.deployment.shards)]
        behind = sum(state.num_pending + state.num_ack_pending for state in projected)
    except Unavailable as fault:
        if fault.code not in _NOT_THERE:
            raise
    return KeptGeneration(
        generation=each.number,
        live=each.number == known.live,
        standing=each.standing,
        fold=each.fold,
        made_at=each.made_at,
        threads=threads,
        bytes=size,
        behind=behind,
    )
