"""Parts that tests make of a composed deployment, as the production code makes them where it uses them."""

from __future__ import annotations

from pathlib import Path

from clew_projections.integrity.heads_file import HeadsFile
from clew_projections.integrity.verify import Verifier
from clew_services.checkpoints.ledger import Ledger
from clew_services.checkpoints.log_heads import Heads
from clew_services.checkpoints.maker import Maker
from clew_services.checkpoints.note import SigningKey
from clew_services.compose import Clew
from clew_services.erasure.evidence import StoredEvidence
from clew_services.integrity.background_audit import Audit


def verifier_of(clew: Clew, *keys: SigningKey) -> Verifier:
    """Walks the chains of the log; certificates of erasures are signed with one of the keys."""
    trusted = {key.verifier.id: key.verifier for key in keys}
    return Verifier(clew.js, clew.deployment.shards, StoredEvidence(clew.js, trusted))


async def sign(clew: Clew, key: SigningKey) -> None:
    """Make the next checkpoint."""
    heads = Heads(clew.js, clew.deployment.shards, HeadsFile())
    try:
        assert await Maker(clew.js, clew.ledger, heads, key).make() is not None
    finally:
        await heads.close()


def audit_of(clew: Clew, every: float, file: Path | None = None) -> Audit:
    """The background verification, a pass every so many seconds at most."""
    return Audit(clew.js, Ledger(clew.js), verifier_of(clew), clew.deployment.shards, every=every, file=file)
