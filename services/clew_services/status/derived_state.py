"""The state of what is derived from the log, and of its checks: buckets, consistency, integrity, index, checkpoints."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Final, TypeVar

from msgspec import Struct

from clew_events.errors import ClewError
from clew_events.subjects import event_stream
from clew_projections.consistency.watch import read_proof_state
from clew_projections.findings import Finding
from clew_projections.generations.generations import Generations
from clew_projections.index.index_folder import IndexFolder
from clew_projections.indexer.freshness import IndexFreshness, freshness
from clew_projections.nats.jetstream import JetStream, stream_info
from clew_services.checkpoints.ledger import CheckpointCoverage, Ledger, checkpoint_coverage
from clew_services.integrity.integrity_report import report
from clew_services.open_deployment import OpenDeployment

T = TypeVar("T")


class BuildProgress(Struct, frozen=True, kw_only=True):
    """A generation of buckets that is being built; ``behind`` counts the commits that it does not hold yet."""

    number: int
    behind: int


class Buckets(Struct, frozen=True, kw_only=True):
    """The live generation of buckets, its fold, and the kept generations."""

    live: int
    fold: int
    kept: tuple[int, ...] = ()
    building: BuildProgress | None = None


class Proof(Struct, frozen=True, kw_only=True):
    """The result of the continuous consistency check of the live buckets.

    ``drift`` counts the threads that differ from the log. The state as of ``since``, ``age`` seconds ago, was compared
    completely; both are ``None`` until every shard was compared once.
    """

    drift: int
    since: datetime | None = None
    age: float | None = None


class Integrity(Struct, frozen=True, kw_only=True):
    """The result of the background verification of the log.

    ``verdict`` is one line about the damage, or ``None`` if there are no findings. The log as of ``since``, ``age``
    seconds ago, was verified completely, against checkpoint ``checkpoint`` if there was one.
    """

    verdict: str | None
    findings: tuple[Finding, ...]
    checkpoint: int | None = None
    since: datetime | None = None
    age: float | None = None


class DerivedState(Struct, frozen=True, kw_only=True):
    """The state of what is derived from the log.

    ``proof`` and ``integrity`` are ``None`` until a projector has begun them, ``checkpoint`` until one was signed, and
    ``index`` if this machine has none. ``clock`` is by how many seconds this machine's clock is ahead of that of the
    NATS server, or behind it if negative; ``None`` if it is less than a minute. What could not be read is ``None`` as
    well, and ``trouble`` says why.
    """

    buckets: Buckets
    proof: Proof | None = None
    integrity: Integrity | None = None
    index: IndexFreshness | None = None
    checkpoint: CheckpointCoverage | None = None
    clock: float | None = None
    trouble: tuple[str, ...] = ()


async def read_derived_state(opened: OpenDeployment, generations: Generations, folder: IndexFolder) -> DerivedState:
    """The current state of what is derived from the log; ``folder`` is that of this machine's index."""
    js, shards = opened.js, opened.shards
    trouble: list[str] = []

    async def attempt(what: str, ask: Callable[[], Awaitable[T]]) -> T | None:
        # Called here and not by the caller: a cancellation before this begins would leave a coroutine unawaited.
        try:
            return await ask()
        except (ClewError, OSError) as fault:
            trouble.append(f"{what}: {fault}")
            return None

    building, proof, integrity, index, checkpoint, clock = await asyncio.gather(
        attempt("the generation that is being built", lambda: _build_progress(generations)),
        attempt("the proof", lambda: _proof(generations, shards)),
        attempt("the verification of the log", lambda: _integrity(js)),
        attempt("the index", lambda: _index(js, shards, folder)),
        attempt("the checkpoints", lambda: checkpoint_coverage(js, shards, Ledger(js))),
        attempt("the server's clock", lambda: read_clock_difference(js)),
    )
    record = generations.live.record
    kept = tuple(g.number for g in record.generations if g.standing == "kept" and g.number != record.live)
    return DerivedState(
        buckets=Buckets(live=record.live, fold=record.current.fold, kept=kept, building=building),
        proof=proof,
        integrity=integrity,
        index=index,
        checkpoint=checkpoint,
        clock=clock,
        trouble=tuple(trouble),
    )


CLOCKS_AGREE: Final = 60.0
"""Seconds by which two clocks may differ."""


async def read_clock_difference(
    js: JetStream, clock: Callable[[], datetime] = lambda: datetime.now(UTC)
) -> float | None:
    """By how many seconds a clock is ahead of the NATS server's; ``None`` if they agree to a minute.

    Raises:
        Unavailable: JetStream does not answer.
    """
    asked = clock()
    theirs = (await stream_info(js, event_stream(0))).ts
    if theirs is None:
        return None
    ahead = round((asked + (clock() - asked) / 2 - theirs).total_seconds(), 1)
    return ahead if abs(ahead) >= CLOCKS_AGREE else None


async def _build_progress(generations: Generations) -> BuildProgress | None:
    building = generations.live.record.building
    if building is None:
        return None
    return BuildProgress(number=building.number, behind=await generations.commits_behind(generations.open(building)))


async def _proof(generations: Generations, count: int) -> Proof | None:
    shards = range(count)
    states = await read_proof_state(generations.live.current.threads, shards)
    if not states:
        return None
    drift = sum(state.drift for state in states.values())
    since = [state.since for state in states.values() if state.since is not None]
    if len(since) < len(shards):
        return Proof(drift=drift)
    age = (datetime.now(UTC) - min(since)).total_seconds()
    return Proof(drift=drift, since=min(since), age=round(max(0.0, age), 3))


async def _integrity(js: JetStream) -> Integrity | None:
    verified = await report(js)
    if verified is None:
        return None
    return Integrity(
        verdict=verified.verdict,
        findings=verified.findings,
        checkpoint=verified.checkpoint,
        since=verified.since,
        age=verified.age,
    )


async def _index(js: JetStream, shards: int, folder: IndexFolder) -> IndexFreshness | None:
    if folder.pointer() is None:
        return None
    return await freshness(js, shards, folder)
