"""The state of log, buckets, index and checkpoints as lines of text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from clew_projections.indexer.freshness import IndexFreshness
from clew_services.checkpoints.ledger import CheckpointCoverage
from clew_services.cli.terminal import quantity
from clew_services.integrity.integrity_report import ADVICE
from clew_services.status.derived_state import CLOCKS_AGREE, Buckets, DerivedState, Integrity, Proof

DRIFT: Final = "drift"
LOG: Final = "log"
INDEX: Final = "index here"
CLOCK: Final = "clock here"
TROUBLE: Final = "not found out"


def facts(derived: DerivedState | None) -> Iterator[tuple[str, str]]:
    """Names and texts of the lines."""
    if derived is None:
        return
    yield LOG, _integrity(derived.integrity)
    yield "buckets", _buckets(derived.buckets)
    yield DRIFT, _proof(derived.proof)
    yield INDEX, _index(derived.index)
    yield "checkpoint", _checkpoint(derived.checkpoint)
    if derived.clock is not None:
        yield CLOCK, _clock(derived.clock)
    for trouble in derived.trouble:
        yield TROUBLE, trouble


def is_bad(name: str, derived: DerivedState) -> bool:
    """Whether the line of a name reports a fault."""
    if name == LOG:
        return derived.integrity is not None and derived.integrity.verdict is not None
    if name == INDEX:
        return derived.index is not None and bool(derived.index.drift)
    return name in {TROUBLE, CLOCK} or (name == DRIFT and derived.proof is not None and derived.proof.drift > 0)


def _buckets(buckets: Buckets) -> str:
    text = f"generation {buckets.live} (fold {buckets.fold})"
    if buckets.building is not None:
        behind = quantity(buckets.building.behind, "commits")
        text += f", generation {buckets.building.number} is being built, {behind} behind"
    if buckets.kept:
        text += f", kept: {', '.join(map(str, buckets.kept))}"
    return text


def _integrity(integrity: Integrity | None) -> str:
    if integrity is None:
        return "not known: no projector verifies it"
    if integrity.verdict is not None:
        return f"{integrity.verdict}. {ADVICE}"
    if integrity.age is None:
        return "nothing found, the first verification of all is under way"
    against = f" against checkpoint {integrity.checkpoint}" if integrity.checkpoint is not None else ""
    return f"verified{against} as of {_ago(integrity.age)}, every chain is intact"


def _proof(proof: Proof | None) -> str:
    if proof is None:
        return "not known: no projector proves"
    if proof.age is None:
        return f"{quantity(proof.drift, 'threads')}, the first proof of all is under way"
    return f"{quantity(proof.drift, 'threads')}, all proved as of {_ago(proof.age)}"


def _index(index: IndexFreshness | None) -> str:
    if index is None:
        return "none"
    text = f"generation {index.generation}" + ("" if index.ready else ", being built")
    text += (
        f", {quantity(index.behind, 'commits')} behind, oldest {index.seconds:.1f} s"
        if index.behind
        else ", up to date"
    )
    text += f", {quantity(index.aside, 'threads')} left out" if index.aside else ""
    return text + (f", {index.drift} of it DIFFER from the log" if index.drift else "")


def _checkpoint(checkpoint: CheckpointCoverage | None) -> str:
    if checkpoint is None:
        return "none was signed"
    signed = f"signed {_ago(checkpoint.age)}"
    if checkpoint.ahead >= CLOCKS_AGREE:
        signed = f"dated {_span(checkpoint.ahead)} in the FUTURE: the clock that it was signed by was ahead"
    text = f"number {checkpoint.number}, {signed}"
    return text + (f", commits wait for the next one, oldest {checkpoint.waiting:.0f} s" if checkpoint.waiting else "")


def _clock(ahead: float) -> str:
    return f"{_span(abs(ahead))} {'ahead of' if ahead > 0 else 'behind'} that of the NATS server: set both, as by NTP"


def _ago(seconds: float) -> str:
    return f"{_span(seconds)} ago"


def _span(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
