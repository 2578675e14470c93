"""One rebuild, from the first commit to the switch. It may be broken off anywhere and run again, or run twice at once.

All that it does is written down where it is done: the generation in the record, how far it is filled in its consumers,
which any number of processes share. So whoever comes later goes on, and whoever comes beside it helps.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Final, Literal

from msgspec import Struct

from clew_events.errors import Conflict, Unavailable
from clew_events.subjects import event_stream
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
"""Commits by which a generation may be behind when it takes over; more if the live one is behind by more."""
LOOK: Final = 0.2
"""Seconds between looks at how far it is."""
FINDINGS: Final = 100
"""Findings that are told; more are only counted."""

Stage = Literal["filling", "comparing"]


class Progress(Struct, frozen=True, kw_only=True):
    """How far a rebuild is: ``done`` of ``total`` commits filled in, or threads compared."""

    stage: Stage
    done: int
    total: int


class Rebuilt(Struct, frozen=True, kw_only=True):
    """What came of a rebuild. It is ``live`` unless ``findings`` or ``parked`` stand against it.

    ``commits`` were filled in within ``seconds``, ``threads`` compared with the log. ``drifted`` counts all findings.
    ``parked`` are threads that the generation before could take up and this one cannot. ``resumed`` if another run had
    begun it.
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
    """The commits of the log, how many of them a side does not hold yet, and where both end, shard by shard."""

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

        ``tell`` is called now and then with how far it is.
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
        """Build the next generation, or go on with the one begun, compare it with the log and switch to it.

        The generation stays as it is, and is not switched to, if it does not hold what follows from the log or has
        threads parked that the live one has not.

        Raises:
            Conflict: a version with another fold is building one, or the one built here was given up meanwhile.
            Corrupt: a stream of that generation was changed.
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
        await self._live.read_again()
        side = self._generations.open(building)
        if known is not None:
            await self._take_over(side)
        async with self._projecting(side):
            filled = await self._fill(side)
            compared = await self._compare(side)
            stuck = await self._stuck(side)
            live = not compared.drifted and not stuck
            if live:
                await self._live.alias.change(lambda each: _switch(each, side.number))
                await self._live.read_again()
        return Rebuilt(
            generation=side.number,
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

    async def _take_over(self, side: GenerationBuckets) -> None:
        """Have what was handed to a run that is no more come again now, instead of after a while."""
        for shard in self._shards:
            await self._js.api(f"CONSUMER.RESET.{event_stream(shard)}.{side.consumer}")

    @asynccontextmanager
    async def _projecting(self, side: GenerationBuckets) -> AsyncIterator[None]:
        stop = asyncio.Event()
        running = asyncio.gather(*(each.run(stop) for each in self._projectors(side)))
        try:
            yield
        except Unavailable as fault:
            # What does not answer may be gone, together with the reason for asking.
            await self._live.read_again()
            self._hold_wanted(side)
            raise fault from None
        finally:
            stop.set()
            await running

    async def _fill(self, side: GenerationBuckets) -> _FillProgress:
        clock = asyncio.get_running_loop().time
        started = clock()
        first = await self._reached(side)
        there = False
        while True:
            self._hold_wanted(side)
            now = await self._reached(side)
            self._tell(Progress(stage="filling", done=now.commits - now.behind, total=now.commits))
            there = there or now.behind == 0 or all(map(int.__ge__, now.floors, first.ends))
            if there and (now.behind <= NEAR or now.behind <= (await self._reached(self._live.side)).behind):
                return _FillProgress(now.commits - now.behind - first.commits + first.behind, clock() - started)
            await asyncio.sleep(LOOK)

    async def _reached(self, side: GenerationBuckets) -> _LogProgress:
        states = [await stream_state(self._js, event_stream(each)) for each in self._shards]
        projected = [await self._generations.position(each, side).state() for each in self._shards]
        return _LogProgress(
            commits=sum(state.messages for state in states),
            behind=sum(state.num_pending + state.num_ack_pending for state in projected),
            ends=[state.last_seq for state in states],
            floors=[state.ack_floor.stream_seq for state in projected],
        )

    async def _compare(self, side: GenerationBuckets) -> _ComparisonProgress:
        total = (await stream_state(self._js, side.threads.stream)).num_subjects
        threads, drifted, findings = 0, 0, list[Finding]()
        async for compared in self._prover(side).prove():
            self._hold_wanted(side)
            threads += 1
            # A history that is damaged itself is that in every generation, and parked.
            if compared.finding is not None and compared.finding.code == "drift":
                drifted += 1
                findings += [compared.finding] if len(findings) < FINDINGS else []
            if threads % 100 == 0:
                self._tell(Progress(stage="comparing", done=threads, total=max(total, threads)))
        return _ComparisonProgress(threads, drifted, tuple(findings))

    async def _stuck(self, side: GenerationBuckets) -> tuple[ParkedThread, ...]:
        before = self._live.side
        if before.number == side.number:
            return ()
        parked_before = {(each.tenant, each.thread) for each in await list_parked(before.threads)}
        return tuple(
            each for each in await list_parked(side.threads) if (each.tenant, each.thread) not in parked_before
        )

    def _hold_wanted(self, side: GenerationBuckets) -> None:
        _hold_wanted(self._live.record, side.number)


def _hold_wanted(known: Record, number: int) -> None:
    for each in known.generations:
        if each.number == number and each.standing != "removing":
            return
    raise Conflict(f"generation {number} was removed while it was being built", code="generation_removed")


def _switch(each: Record, number: int) -> Record:
    _hold_wanted(each, number)
    if each.generation(number).standing != "building":
        return each  # whoever helped was faster, and somebody may have gone back since
    return record.switch_to(each, number, _now())


def _now() -> datetime:
    return datetime.now(UTC)
