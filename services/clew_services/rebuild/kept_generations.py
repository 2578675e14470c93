"""The generations of buckets: list, go back, remove."""

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
    """A generation of buckets; ``behind`` counts the commits that it does not hold yet.

    ``threads``, ``bytes`` and ``behind`` are ``None`` if its streams do not exist.
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
    """All generations in the record.

    Raises:
        Unavailable: JetStream does not answer.
    """
    known = (await clew.live.alias.read_record()).record
    return [await _describe_kept(clew, known, generation) for generation in known.generations]


async def go_back(clew: Clew, number: int | None = None) -> Record:
    """Make another generation live: the previous one, or the one with a number.

    It catches up with later commits by itself; answers are correct meanwhile.

    Raises:
        NotFound: there is no such generation.
        Invalid: it is being built or removed.
        Corrupt: a part of it is missing.
        Unavailable: JetStream does not answer.
    """
    size = clew.deployment
    chosen = number or record.before((await clew.live.alias.read_record()).record)

    def back(known: Record) -> Record:
        if known.generation(chosen).standing == "building":
            raise Invalid(
                f"generation {chosen} is being built: finish it with 'clew rebuild threads'",
                code="generation_unfinished",
                param="number",
            )
        return record.switch_to(known, chosen, datetime.now(UTC))

    back((await clew.live.alias.read_record()).record)
    try:
        await generation_streams.verify_generation(clew.js, chosen, shards=size.shards, replicas=size.replicas)
    except Corrupt as fault:
        raise Corrupt(
            f"generation {chosen} cannot become live: {fault.message.partition(': run')[0]}. "
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
    await clew.live.alias.change(lambda known: record.begin_removal(known, number))
    await generation_streams.remove_generation(clew.js, number, shards=clew.deployment.shards)
    await clew.live.alias.change(lambda known: record.end_removal(known, number))


async def _describe_kept(clew: Clew, known: Record, generation: Generation) -> KeptGeneration:
    threads: int | None = None
    size: int | None = None
    behind: int | None = None
    buckets = clew.side(generation)
    try:
        states = [await stream_state(clew.js, bucket.stream) for bucket in buckets.buckets]
        threads, size = states[0].num_subjects, sum(state.bytes for state in states)
        projected = [await clew.checkpoint(shard, buckets).state() for shard in range(clew.deployment.shards)]
        behind = sum(state.num_pending + state.num_ack_pending for state in projected)
    except Unavailable as fault:
        if fault.code not in _NOT_THERE:
            raise
    return KeptGeneration(
        generation=generation.number,
        live=generation.number == known.live,
        standing=generation.standing,
        fold=generation.fold,
        made_at=generation.made_at,
        threads=threads,
        bytes=size,
        behind=behind,
    )
