"""The generations of buckets as one process uses them: the live one, others by record, and projection into them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Final

from clew_events.subjects import event_stream
from clew_projections.generations.generation import GenerationBuckets, LiveGeneration
from clew_projections.generations.record import Alias, Generation, StoredRecord
from clew_projections.history.histories import Histories
from clew_projections.kv.position import PositionStore
from clew_projections.nats.jetstream import JetStream
from clew_projections.projector.parked_threads import ParkedThread, list_parked
from clew_projections.projector.projector import Projector
from clew_projections.wait import run_until_first


class Generations:
    """Opens the buckets of generations. ``live`` is the live one, whichever that is at the moment."""

    def __init__(
        self,
        js: JetStream,
        histories: Histories,
        record: StoredRecord,
        *,
        shards: int,
        replicated: bool,
        fold: int,
        connection: Callable[[], int],
        forget: Callable[[], None] = lambda: None,
    ) -> None:
        """``fold`` is the number of this process's fold; ``connection`` counts how often the connection was made.

        ``forget`` drops what else this process remembers of views, when another generation becomes live.
        """
        self._js = js
        self._histories = histories
        self._shards = shards
        self._replicated = replicated
        self._connection = connection
        self.fold = fold
        self.live = LiveGeneration(Alias(js), record, self.open, forget)

    def open(self, generation: Generation) -> GenerationBuckets:
        """The buckets of a generation, live or not."""
        return GenerationBuckets(
            self._js,
            generation,
            self._histories,
            fold=self.fold,
            replicated=self._replicated,
        )

    def position(self, shard: int, generation: GenerationBuckets | None = None) -> PositionStore:
        """How far a shard is projected into the live generation, or into another."""
        generation = generation or self.live.current
        return PositionStore(
            self._js, event_stream(shard), generation.consumer, generation.buckets, shard, connection=self._connection
        )

    async def commits_behind(self, generation: GenerationBuckets) -> int:
        """The commits that are not projected into a generation yet.

        Raises:
            Unavailable: JetStream does not answer, or a consumer of the generation is gone.
        """
        states = [await self.position(shard, generation).state() for shard in range(self._shards)]
        return sum(each.num_pending + each.num_ack_pending for each in states)

    def consumer(self) -> str:
        """The name of the consumers that project into the live generation."""
        return self.live.current.consumer

    async def list_parked(self) -> Sequence[ParkedThread]:
        """The threads of the live generation that are parked, since their history cannot be folded.

        Raises:
            Unavailable: the bucket does not answer.
        """
        return await list_parked(self.live.current.threads)


_LOG: Final = logging.getLogger("clew.generations")


async def project_live(
    live: LiveGeneration, projectors: Callable[[GenerationBuckets], list[Projector]], stop: asyncio.Event
) -> None:
    """Run projectors of the live generation until ``stop`` is set; batches in progress are finished first.

    After a switch the projectors of the new generation start at once, and those of the old one end.
    """
    async with asyncio.TaskGroup() as running:
        while not stop.is_set():
            generation, ended = live.current, asyncio.Event()
            if generation.foreign:
                _LOG.error(
                    "generation %d was made by fold %d, not by that of this version of Clew: it is not projected here, "
                    "and reads come from the log. Run 'clew rebuild threads' with the version that is to stay",
                    generation.number,
                    generation.generation.fold,
                )
            else:
                for projector in projectors(generation):
                    running.create_task(projector.run(ended))
            await run_until_first(stop.wait(), live.wait_for_switch(generation))
            ended.set()
