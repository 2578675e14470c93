"""Losses that the numbers of a shard's stream tell by themselves, without reading it. Pure.

Clew removes nothing from the log, and no sequence is given twice. So a stream holds as many messages as it has given
sequences, less those that were gone already when the newest checkpoint was signed.
"""

from __future__ import annotations

from clew_projections.findings import Finding
from clew_projections.integrity.checkpoint import Checkpoint, ShardHeads
from clew_projections.integrity.checkpoint_comparison import cut_off
from clew_projections.nats.stream_messages import StreamState


def gone(said: ShardHeads | None) -> int:
    """How many sequences of a shard held nothing when a checkpoint was signed; none before the first one."""
    return said.seq - said.commits - said.misfits if said is not None else 0


def lost(shard: int, reach: StreamState, checkpoint: Checkpoint | None) -> Finding | None:
    """That a shard's stream has lost messages since a checkpoint was signed, or since it began, if it has."""
    said = checkpoint.shards[shard] if checkpoint is not None and shard < len(checkpoint.shards) else None
    if said is not None and checkpoint is not None and (found := cut_off(shard, said, reach.last_seq, checkpoint)):
        return found
    missing = reach.last_seq - reach.messages - gone(said)
    if missing <= 0:
        return None
    since = f" since checkpoint {checkpoint.number}" if checkpoint is not None else ""
    what = f"shard {shard} has lost {missing} messages{since}: they were removed, which Clew never does"
    return Finding(tenant="", thread="", code="removed", what=what, shard=shard)
