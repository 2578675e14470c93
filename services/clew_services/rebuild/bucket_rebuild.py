"""A rebuild, from the first commit to the switch. It may be interrupted and resumed, or run by several processes.

Its state is in the deployment: the generation in the record, and its position in its consumers, which any number of
processes share. So a later run resumes, and a concurrent run shares the work.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final, Literal

from msgspec import Struct

from clew_events.errors import Conflict, Unavailable
from clew_events.subjects import event_stream, is_thread
from clew_projections.consistency.prove import Prover
from clew_projections.findings import Finding
from clew_projections.generations import record
from clew_projections.generations.generation import GenerationBuckets
from clew_projections.generations.generations import Generations
from clew_projections.generations.record import Record
from clew_projections.nats.jetstream import stream_state
from clew_projections.projector.parked_threads import ParkedThread, list_parked
from clew_projections.projector.projector import Projector
from clew_services.eventstore import generation_streams
from clew_services.open_deployment import OpenDeployment

NEAR: Final = 1_000
"""Commits that a generation may be behind when it becomes live; more if the live one is further behind."""
LOOK: Final = 0.2
"""Seconds between two checks of the progress."""
FINDINGS: Final = 100
"""Findings that are listed at most; all are counted."""

Stage = Literal["filling", "comparing"]


class Progress(Struct, frozen=True, kw_only=True):
    """The progress of a rebuild: ``done`` of ``total`` commits projected, or threads compared."""

    stage: Stage
    done: int
    total: int


class Rebuilt(Struct, frozen=True, kw_only=True):
    """The result of a rebuild. The generation is ``live`` unless there are ``findings`` or ``parked`` threads.

    ``commits`` were projected within ``seconds``, ``threads`` compared with the log. ``drifted`` counts all findings.
    ``parked`` are threads that the previous generation can fold and this one cannot. ``resumed`` says that another run
    had begun it.
    """

    generation: int
    before: int
    fold: int
    live: bool
    resumed: bool
    commits: int
    seconds: float
    threads: int
    drifted: int
    findings: tuple[Finding, ...] = ()
    parked: tuple[ParkedThread, ...] = ()


class _LogProgress(Struct, frozen=True):
    """The commits of the log, how many a generation does not hold yet, and where both end, by shard."""

    commits: int
    behind: int
    ends: list[int]
    floors: list[int]


class _FillProgress(Struct, frozen=True):
    commits: int
    seconds: float


class _ComparisonProgress(Struct, frozen=True):
    threads: int
    drifted: int
    findings: tuple[Finding, ...]


class Rebuild:
    """Rebuilds the buckets of a deployment with this process's fold."""

    def __init__(
        self,
        opened: OpenDeployment,
        generations: Generations,
        projectors: Callable[[GenerationBuckets], Sequence[Projector]],
        prover: Callable[[GenerationBuckets], Prover],
        tell: Callable[[Progress], None] = lambda _: None,
    ) -> None:
        """``projectors`` fill a generation, one for each shard; ``prover`` compares it with the log.

        ``tell`` is called with the progress, several times per second.
        """
        self._js = opened.js
        self._layout = opened.layout
        self._generations = generations
        self._live = generations.live
        self._projectors = projectors
        self._prover = prover
        self._tell = tell
        self._shards = range(opened.shards)

    async def run(self) -> Rebuilt:
        """Build the next generation, or resume the unfinished one, compare it with the log, and make it live.

        It does not become live if it is not consistent with the log, or has parked threads that the live one has not.

        Raises:
            Conflict: a version with another fold is building one, or this one was removed meanwhile.
            Corrupt: a stream of the generation has other settings.
            Unavailable: JetStream does not answer.
        """
        known = self._live.record.building
        began = (
            await self._live.alias.change(lambda each: record.begin_build(each, self._generations.fold, _now()))
        ).record
        building, before = began.building, began.live
        assert building is not None, "it was begun"
        size = self._layout
        await generation_streams.make_generation(self._js, building.number, shards=size.shards, replicas=size.replicas)
        await self._live.refresh()
        generation = self._generations.open(building)
        if known is not None:
            await self._take_over(generation)
        async with self._projecting(generation):
            filled = await self._fill(generation)
            compared = await self._compare(generation)
            stuck = await self._stuck(generation)
            live = not compared.drifted and not stuck
            if live:
                await self._live.alias.change(lambda each: _switch(each, generation.number))
                await self._live.refresh()
        return Rebuilt(
            generation=generation.number,
            before=before,
            fold=self._generations.fold,
            live=live,
            resumed=known is not None,
            commits=filled.commits,
            seconds=round(filled.seconds, 3),
            threads=compared.threads,
            drifted=compared.drifted,
            findings=compared.findings,
            parked=stuck,
        )

    async def _take_over(self, generation: GenerationBuckets) -> None:
        """Have messages that were delivered to an earlier run redelivered now, instead of after ``ack_wait``."""
        for shard in self._shards:
            await self._js.api(f"CONSUMER.RESET.{event_stream(shard)}.{generation.consumer}")

    @asynccontextmanager
    async def _projecting(self, generation: GenerationBuckets) -> AsyncIterator[None]:
        stop = asyncio.Event()
        running = asyncio.gather(*(projector.run(stop) for projector in self._projectors(generation)))
        try:
            yield
        except Unavailable as fault:
            # A bucket that does not answer may belong to a generation that was removed.
            await self._live.refresh()
            self._check_wanted(generation)
            raise fault from None
        finally:
            stop.set()
            await running

    async def _fill(self, generation: GenerationBuckets) -> _FillProgress:
        clock = asyncio.get_running_loop().time
        started = clock()
        first = await self._reached(generation)
        there = False
        while True:
            self._check_wanted(generation)
            now = await self._reached(generation)
            self._tell(Progress(stage="filling", done=now.commits - now.behind, total=now.commits))
            there = there or now.behind == 0 or all(map(int.__ge__, now.floors, first.ends))
            if there and (now.behind <= NEAR or now.behind <= (await self._reached(self._live.current)).behind):
                return _FillProgress(now.commits - now.behind - first.commits + first.behind, clock() - started)
            await asyncio.sleep(LOOK)

    async def _reached(self, generation: GenerationBuckets) -> _LogProgress:
        states = [await stream_state(self._js, event_stream(shard)) for shard in self._shards]
        projected = [await self._generations.position(shard, generation).state() for shard in self._shards]
        return _LogProgress(
            commits=sum(state.messages for state in states),
            behind=sum(state.num_pending + state.num_ack_pending for state in projected),
            ends=[state.last_seq for state in states],
            floors=[state.ack_floor.stream_seq for state in projected],
        )

    async def _compare(self, generation: GenerationBuckets) -> _ComparisonProgress:
        # A thread is a subject of the log.
        states = [await stream_state(self._js, event_stream(shard)) for shard in self._shards]
        total = sum(state.num_subjects for state in states)
        threads, drifted, findings = 0, 0, list[Finding]()
        async for compared in self._prover(generation).prove():
            self._check_wanted(generation)
            threads += is_thread(compared.address)
            # A damaged history is parked in every generation, and no drift.
            if compared.finding is not None and compared.finding.code == "drift":
                drifted += 1
                findings += [compared.finding] if len(findings) < FINDINGS else []
            if threads % 100 == 0:
                self._tell(Progress(stage="comparing", done=threads, total=max(total, threads)))
        return _ComparisonProgress(threads, drifted, tuple(findings))

    async def _stuck(self, generation: GenerationBuckets) -> tuple[ParkedThread, ...]:
        before = self._live.current
        if before.number == generation.number:
            return ()
        parked_before = {(parked.tenant, parked.thread) for parked in await list_parked(before.threads)}
        return tuple(
            parked
            for parked in await list_parked(generation.threads)
            if (parked.tenant, parked.thread) not in parked_before
        )

    def _check_wanted(self, generation: GenerationBuckets) -> None:
        _check_wanted(self._live.record, generation.number)


def _check_wanted(known: Record, number: int) -> None:
    if not known.keeps(number):
        raise Conflict(f"generation {number} was removed while it was being built", code="generation_removed")


def _switch(known: Record, number: int) -> Record:
    _check_wanted(known, number)
    if known.generation(number).standing != "building":
        return known  # a concurrent run was first, and the previous generation may be live again
    return record.switch_to(known, number, _now())


def _now() -> datetime:
    return datetime.now(UTC)
