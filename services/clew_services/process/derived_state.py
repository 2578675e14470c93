"""What was made of the log, and how sure that is: the buckets that are live, their proof, the index, checkpoints."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

from msgspec import Struct

from clew_events.errors import ClewError
from clew_projections.consistency.watch import read_proof_state
from clew_projections.findings import Finding
from clew_projections.generations.generations import Generations
from clew_projections.index.index_folder import IndexFolder
from clew_projections.indexer.freshness import IndexFreshness, freshness
from clew_projections.nats.jetstream import JetStream
from clew_services.checkpoints.coverage import CheckpointCoverage, checkpoint_coverage
from clew_services.checkpoints.ledger import Ledger
from clew_services.integrity.integrity_report import report
from clew_services.open_deployment import OpenDeployment

T = TypeVar("T")


class BuildProgress(Struct, frozen=True, kw_only=True):
    """A generation of buckets that is being built; ``behind`` counts the commits it does not hold yet."""

    number: int
    behind: int


class Buckets(Struct, frozen=True, kw_only=True):
    """The generation of buckets that is live, the fold that makes it, and those that are kept to go back to."""

    live: int
    fold: int
    kept: tuple[int, ...] = ()
    building: BuildProgress | None = None


class Proof(Struct, frozen=True, kw_only=True):
    """What the proof that never ends knows of the live buckets.

    ``drift`` counts threads known to differ from the log. Whatever was there at ``since``, ``age`` seconds ago, has
    been compared; both are nothing until every shard has been gone through once.
    """

    drift: int
    since: datetime | None = None
    age: float | None = None


class Integrity(Struct, frozen=True, kw_only=True):
    """What the background verification knows of the log itself.

    ``verdict`` says in one line that it is not what it was, and is nothing as long as no finding says so. Whatever was
    there at ``since``, ``age`` seconds ago, has been verified, against checkpoint ``checkpoint`` if there was one.
    """

    verdict: str | None
    findings: tuple[Finding, ...]
    checkpoint: int | None = None
    since: datetime | None = None
    age: float | None = None


class DerivedState(Struct, frozen=True, kw_only=True):
    """What follows from the log.

    ``proof`` and ``integrity`` are nothing until a projector has begun them, ``checkpoint`` until one was signed, and
    ``index`` where this machine has none. What could not be found out is nothing as well, and ``trouble`` says why.
    """

    buckets: Buckets
    proof: Proof | None = None
    integrity: Integrity | None = None
    index: IndexFreshness | None = None
    checkpoint: CheckpointCoverage | None = None
    trouble: tuple[str, ...] = ()


async def read_derived_state(opened: OpenDeployment, generations: Generations, folder: IndexFolder) -> DerivedState:
    """What follows from the log now; ``folder`` is where this machine's index would be."""
    js, shards = opened.js, opened.shards
    trouble: list[str] = []

    async def tried(what: str, ask: Callable[[], Awaitable[T]]) -> T | None:
        # Asked here and not by the caller, as whoever is cancelled before this begins would leave it unawaited.
        try:
            return await ask()
        except (ClewError, OSError) as fault:
            trouble.append(f"{what}: {fault}")
            return None

    building, proof, integrity, index, checkpoint = await asyncio.gather(
        tried("the generation that is being built", lambda: _build_progress(generations)),
        tried("the proof", lambda: _proof(generations, shards)),
        tried("the verification of the log", lambda: _integrity(js)),
        tried("the index", lambda: _index(js, shards, folder)),
        tried("the checkpoints", lambda: checkpoint_coverage(js, shards, Ledger(js))),
    )
    record = generations.live.record
    kept = tuple(each.number for each in record.generations if each.standing == "kept" and each.number != record.live)
    return DerivedState(
        buckets=Buckets(live=record.live, fold=record.current.fold, kept=kept, building=building),
        proof=proof,
        integrity=integrity,
        index=index,
        checkpoint=checkpoint,
        trouble=tuple(trouble),
    )


async def _build_progress(generations: Generations) -> BuildProgress | None:
    building = generations.live.record.building
    if building is None:
        return None
    return BuildProgress(number=building.number, behind=await generations.commits_behind(generations.open(building)))


async def _proof(generations: Generations, count: int) -> Proof | None:
    shards = range(count)
    found = await read_proof_state(generations.live.side.threads, shards)
    if not found:
        return None
    drift = sum(each.drift for each in found.values())
    since = [each.since for each in found.values() if each.since is not None]
    if len(since) < len(shards):
        return Proof(drift=drift)
    age = (datetime.now(UTC) - min(since)).total_seconds()
    return Proof(drift=drift, since=min(since), age=round(max(0.0, age), 3))


async def _integrity(js: JetStream) -> Integrity | None:
    found = await report(js)
    if found is None:
        return None
    return Integrity(
        verdict=found.verdict,
        findings=found.findings,
        checkpoint=found.checkpoint,
        since=found.since,
        age=found.age,
    )


async def _index(js: JetStream, shards: int, folder: IndexFolder) -> IndexFreshness | None:
    if folder.pointer() is None:
        return None
    return await freshness(js, shards, folder)
