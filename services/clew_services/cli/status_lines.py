"""What was made of the log, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from clew_projections.indexer.freshness import IndexFreshness
from clew_services.checkpoints.coverage import CheckpointCoverage
from clew_services.integrity.integrity_report import ADVICE
from clew_services.process.derived_state import Buckets, DerivedState, Integrity, Proof

DRIFT: Final = "drift"
LOG: Final = "log"
INDEX: Final = "index here"
TROUBLE: Final = "not found out"


def facts(found: DerivedState | None) -> Iterator[tuple[str, str]]:
    """Names and what is to be said under them."""
    if found is None:
        return
    yield LOG, _integrity(found.integrity)
    yield "buckets", _buckets(found.buckets)
    yield DRIFT, _proof(found.proof)
    yield INDEX, _index(found.index)
    yield "checkpoint", _checkpoint(found.checkpoint)
    for each in found.trouble:
        yield TROUBLE, each


def is_bad(name: str, found: DerivedState) -> bool:
    """Whether what is said under a name is bad news."""
    if name == LOG:
        return found.integrity is not None and found.integrity.verdict is not None
    if name == INDEX:
        return found.index is not None and bool(found.index.drift)
    return name == TROUBLE or (name == DRIFT and found.proof is not None and found.proof.drift > 0)


def _buckets(found: Buckets) -> str:
    said = f"generation {found.live} (fold {found.fold})"
    if found.building is not None:
        said += f", generation {found.building.number} is being built, {found.building.behind} commits behind"
    if found.kept:
        said += f", kept: {', '.join(map(str, found.kept))}"
    return said


def _integrity(found: Integrity | None) -> str:
    if found is None:
        return "not known: no projector verifies it"
    if found.verdict is not None:
        return f"{found.verdict}. {ADVICE}"
    if found.age is None:
        return "nothing found, the first verification of all is under way"
    against = f" against checkpoint {found.checkpoint}" if found.checkpoint is not None else ""
    return f"verified{against} as of {_ago(found.age)}, every chain is whole"


def _proof(found: Proof | None) -> str:
    if found is None:
        return "not known: no projector proves"
    if found.age is None:
        return f"{found.drift} threads, the first proof of all is under way"
    return f"{found.drift} threads, all proved as of {_ago(found.age)}"


def _index(found: IndexFreshness | None) -> str:
    if found is None:
        return "none"
    said = f"generation {found.generation}" + ("" if found.ready else ", being built")
    said += f", {found.behind} commits behind, oldest {found.seconds:.1f} s" if found.behind else ", up to date"
    said += f", {found.aside} threads left out" if found.aside else ""
    return said + (f", {found.drift} of it DIFFER from the log" if found.drift else "")


def _checkpoint(found: CheckpointCoverage | None) -> str:
    if found is None:
        return "none was signed"
    said = f"number {found.number}, signed {_ago(found.age)}"
    return said + (f", commits wait for the next one, oldest {found.waiting:.0f} s" if found.waiting else "")


def _ago(seconds: float) -> str:
    for unit, length in (("days", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit} ago"
    return f"{seconds:.0f} s ago"
