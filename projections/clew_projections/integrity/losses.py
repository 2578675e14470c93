"""Losses that show in the numbers of a shard's stream, without reading it. Pure.

Clew removes nothing from the log, and no sequence is used twice. So a stream holds as many messages as it has assigned
sequences, less those that were missing already when the newest checkpoint was signed.
"""

from __future__ import annotations

from clew_projections.findings import Finding
from clew_projections.integrity.checkpoint import Checkpoint, ShardHeads
from clew_projections.integrity.checkpoint_comparison import find_cut_off
from clew_projections.integrity.verify import Extent


def count_removed(signed: ShardHeads | None) -> int:
    """Return how many sequences of a shard were empty when a checkpoint was signed; 0 without a checkpoint."""
    return signed.seq - signed.commits - signed.misfits if signed is not None else 0


def find_loss(shard: int, reach: Extent, checkpoint: Checkpoint | None) -> Finding | None:
    """Return the finding that a shard's stream has lost messages since a checkpoint, or ever, if it has."""
    signed = checkpoint.shards[shard] if checkpoint is not None and shard < len(checkpoint.shards) else None
    if (
        signed is not None
        and checkpoint is not None
        and (found := find_cut_off(shard, signed, reach.last_seq, checkpoint))
    ):
        return found
    missing = reach.last_seq - reach.messages - count_removed(signed)
    if missing <= 0:
        return None
    since = f" since checkpoint {checkpoint.number}" if checkpoint is not None else ""
    what = f"shard {shard} has lost {missing} messages{since}: they were removed, which Clew never does"
    return Finding(tenant="", thread="", code="removed", what=what, shard=shard)
