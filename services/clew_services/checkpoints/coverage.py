"""The coverage of the latest checkpoint, and the age of the oldest uncovered commit. Signatures are not verified."""

from __future__ import annotations

from datetime import UTC, datetime

from msgspec import Struct

from clew_projections.index.log_agreement import ends
from clew_projections.nats.jetstream import JetStream
from clew_projections.projector.lag import lag_seconds
from clew_services.checkpoints.ledger import Ledger


class CheckpointCoverage(Struct, frozen=True, kw_only=True):
    """The latest checkpoint and its coverage.

    ``number`` and ``at`` are the checkpoint's, ``age`` is its age in seconds. ``waiting`` is the age in seconds of the
    oldest commit that no checkpoint covers; 0 if all are covered.
    """

    number: int
    at: datetime
    age: float
    waiting: float


async def checkpoint_coverage(js: JetStream, shards: int, ledger: Ledger) -> CheckpointCoverage | None:
    """The coverage of the latest checkpoint; ``None`` if none was ever signed.

    Raises:
        Corrupt: the checkpoint cannot be read.
        Unavailable: JetStream does not answer.
    """
    latest = await ledger.latest()
    if latest is None:
        return None
    reached = {shard: heads.seq for shard, heads in enumerate(latest.checkpoint.shards)}
    at = latest.checkpoint.at
    return CheckpointCoverage(
        number=latest.checkpoint.number,
        at=at,
        age=round(max(0.0, (datetime.now(UTC) - at).total_seconds()), 3),
        waiting=round(await lag_seconds(js, reached, await ends(js, shards)), 3),
    )
