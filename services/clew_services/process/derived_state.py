"""The state of what is derived from the log, and of its checks: buckets, consistency, integrity, index, checkpoints."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

from msgspec import Struct

from clew_events.errors import ClewError
from clew_projections.consistency.watch import read_proof_state
from clew_projections.findings import Finding
from clew_projections.generations.record import Generation
from clew_projections.index.index_folder import IndexFolder
from clew_projections.indexer.freshness import IndexFreshness, freshness
from clew_services.checkpoints.coverage import CheckpointCoverage, checkpoint_coverage
from clew_services.compose import Clew

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
    ``index`` if this machine has none. What could not be read is ``None`` as well, and ``trouble`` says why.
    """

    buckets: Buckets
    proof: Proof | None = None
    integrity: Integrity | None = None
    index: IndexFreshness | None = None
    checkpoint: CheckpointCoverage | None = None
    trouble: tuple[str, ...] = ()


async def read_derived_state(clew: Clew, folder: IndexFolder) -> DerivedState:
    """The current state of what is derived from the log; ``folder`` is that of this machine's index."""
    trouble: list[str] = []

    async def attempt(what: str, ask: Callable[[], Awaitable[T]]) -> T | None:
        # Called here and not by the caller: a cancellation before this begins would leave a coroutine unawaited.
        try:
            return await ask()
        except (ClewError, OSError) as fault:
            trouble.append(f"{what}: {fault}")
            return None

    building, proof, integrity, index, checkpoint = await asyncio.gather(
        attempt("the generation that is being built", lambda: _build_progress(clew)),
        attempt("the proof", lambda: _proof(clew)),
        attempt("the verification of the log", lambda: _integrity(clew)),
        attempt("the index", lambda: _index(clew, folder)),
        attempt("the checkpoints", lambda: checkpoint_coverage(clew.js, clew.deployment.shards, clew.ledger)),
    )
    record = clew.live.record
    kept = tuple(g.number for g in record.generations if g.standing == "kept" and g.number != record.live)
    return DerivedState(
        buckets=Buckets(live=record.live, fold=record.current.fold, kept=kept, building=building),
        proof=proof,
        integrity=integrity,
        index=index,
        checkpoint=checkpoint,
        trouble=tuple(trouble),
    )


async def _build_progress(clew: Clew) -> BuildProgress | None:
    building = clew.live.record.building
    if building is None:
        return None
    return BuildProgress(number=building.number, behind=await _commits_behind(clew, building))


async def _commits_behind(clew: Clew, generation: Generation) -> int:
    side = clew.side(generation)
    states = [await clew.checkpoint(shard, side).state() for shard in range(clew.deployment.shards)]
    return sum(state.num_pending + state.num_ack_pending for state in states)


async def _proof(clew: Clew) -> Proof | None:
    shards = range(clew.deployment.shards)
    states = await read_proof_state(clew.threads, shards)
    if not states:
        return None
    drift = sum(state.drift for state in states.values())
    since = [state.since for state in states.values() if state.since is not None]
    if len(since) < len(shards):
        return Proof(drift=drift)
    age = (datetime.now(UTC) - min(since)).total_seconds()
    return Proof(drift=drift, since=min(since), age=round(max(0.0, age), 3))


async def _integrity(clew: Clew) -> Integrity | None:
    report = await clew.integrity()
    if report is None:
        return None
    return Integrity(
        verdict=report.verdict,
        findings=report.findings,
        checkpoint=report.checkpoint,
        since=report.since,
        age=report.age,
    )


async def _index(clew: Clew, folder: IndexFolder) -> IndexFreshness | None:
    if folder.pointer() is None:
        return None
    return await freshness(clew.js, clew.deployment.shards, folder)
