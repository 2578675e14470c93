"""The generations of buckets: list, go back, remove."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from msgspec import Struct

from clew_events.errors import Corrupt, Invalid, Unavailable
from clew_projections.generations import record
from clew_projections.generations.generations import Generations
from clew_projections.generations.record import Generation, Record, Standing
from clew_projections.nats.jetstream import stream_state
from clew_services.eventstore import generation_streams
from clew_services.open_deployment import OpenDeployment

_NOT_THERE: Final = frozenset({"jetstream_10059", "jetstream_10014"})


class KeptGeneration(Struct, frozen=True, kw_only=True):
    """A generation of buckets; ``behind`` counts the commits that it does not hold yet.

    ``keys`` counts those of the bucket of threads: views, full pages of places, and the projector's own. ``keys``,
    ``bytes`` and ``behind`` are ``None`` if its streams do not exist.
    """

    generation: int
    live: bool
    standing: Standing
    fold: int
    made_at: datetime
    keys: int | None
    bytes: int | None
    behind: int | None


class KeptGenerations:
    """The generations in the record, the live one among them."""

    def __init__(self, opened: OpenDeployment, generations: Generations) -> None:
        self._opened = opened
        self._generations = generations
        self._live = generations.live

    async def list(self) -> list[KeptGeneration]:
        """All generations in the record.

        Raises:
            Unavailable: JetStream does not answer.
        """
        known = (await self._live.alias.read_record()).record
        return [await self._describe(known, generation) for generation in known.generations]

    async def go_back(self, number: int | None = None) -> Record:
        """Make another generation live: the previous one, or the one with a number.

        It catches up with later commits by itself; answers are correct meanwhile.

        Raises:
            NotFound: there is no such generation.
            Invalid: it is being built or removed.
            Corrupt: a part of it is missing.
            Unavailable: JetStream does not answer.
        """
        size = self._opened.layout
        chosen = number or record.before((await self._live.alias.read_record()).record)

        def back(known: Record) -> Record:
            if known.generation(chosen).standing == "building":
                raise Invalid(
                    f"generation {chosen} is being built: finish it with 'clew rebuild threads'",
                    code="generation_unfinished",
                    param="number",
                )
            return record.switch_to(known, chosen, datetime.now(UTC))

        back((await self._live.alias.read_record()).record)
        try:
            await generation_streams.verify_generation(
                self._opened.js, chosen, shards=size.shards, replicas=size.replicas
            )
        except Corrupt as fault:
            raise Corrupt(
                f"generation {chosen} cannot become live: {fault.message.partition(': run')[0]}. "
                f"Build another with 'clew rebuild threads'",
                code=fault.code,
            ) from fault
        changed = await self._live.alias.change(back)
        self._live.update(changed)
        return changed.record

    async def remove(self, number: int) -> None:
        """Delete a generation that is not live, finished or not. Safe to repeat, and to interrupt.

        Raises:
            NotFound: there is no such generation.
            Invalid: it is live.
            Unavailable: JetStream does not answer.
        """
        await self._live.alias.change(lambda known: record.begin_removal(known, number))
        await generation_streams.remove_generation(self._opened.js, number, shards=self._opened.shards)
        await self._live.alias.change(lambda known: record.end_removal(known, number))

    async def _describe(self, known: Record, generation: Generation) -> KeptGeneration:
        keys: int | None = None
        size: int | None = None
        behind: int | None = None
        buckets = self._generations.open(generation)
        try:
            states = [await stream_state(self._opened.js, bucket.stream) for bucket in buckets.buckets]
            keys, size = states[0].num_subjects, sum(state.bytes for state in states)
            behind = await self._generations.commits_behind(buckets)
        except Unavailable as fault:
            if fault.code not in _NOT_THERE:
                raise
        return KeptGeneration(
            generation=generation.number,
            live=generation.number == known.live,
            standing=generation.standing,
            fold=generation.fold,
            made_at=generation.made_at,
            keys=keys,
            bytes=size,
            behind=behind,
        )
