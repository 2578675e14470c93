"""Parts that tests make of a composed deployment, as the production code makes them where it uses them."""

from __future__ import annotations

from pathlib import Path

from clew_projections.integrity.verify import Verifier
from clew_services.checkpoints.ledger import Ledger
from clew_services.compose import Clew
from clew_services.erasure.evidence import StoredEvidence
from clew_services.integrity.background_audit import Audit


def verifier_of(clew: Clew) -> Verifier:
    """Walks the chains of the log."""
    return Verifier(clew.js, clew.deployment.shards, StoredEvidence(clew.js, {}))


def audit_of(clew: Clew, every: float, file: Path | None = None) -> Audit:
    """The background verification, a pass every so many seconds at most."""
    return Audit(clew.js, Ledger(clew.js), verifier_of(clew), clew.deployment.shards, every=every, file=file)
