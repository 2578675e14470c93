"""Inclusion: that a thread's history, up to some commit, is what a checkpoint speaks of. Pure, and needs no server."""

from __future__ import annotations

from collections.abc import Sequence

from clew_events.checkpoints import HeadProof
from clew_events.errors import Corrupt
from clew_events.subjects import shard_of
from clew_projections.proof.checkpoint import Checkpoint
from clew_projections.proof.heads import Head, key_of, leaf_of
from clew_projections.proof.links import Tip, follow
from clew_projections.proof.merkle import climb

__all__ = ["HeadProof", "check_between", "check_included"]


def check_included(head: Head, path: Sequence[str], checkpoint: Checkpoint) -> None:
    """Hold that a head is under a checkpoint. That the checkpoint is signed by whom one trusts is another matter.

    Raises:
        Corrupt: it is not.
    """
    shard = shard_of(head.thread, len(checkpoint.shards))
    place = key_of(head.address)
    try:
        found = climb(place, leaf_of(place, head.n, head.hash), [bytes.fromhex(each) for each in path])
    except (ValueError, OverflowError) as fault:
        raise Corrupt(f"this is no path through a tree: {fault}", code="broken_proof") from fault
    if found.hex() != checkpoint.shards[shard].root:
        raise Corrupt(
            f"commit {head.n} of thread {head.thread}, by hash {head.hash}, is not its head under checkpoint "
            f"{checkpoint.number}: the path does not lead to the root of shard {shard}",
            code="broken_proof",
        )


def check_between(earlier: Head | None, later: Head, bodies: Sequence[bytes]) -> None:
    """Hold that commits lead from a thread's earlier head, or from its beginning, to a later one, without a gap.

    Raises:
        Corrupt: they do not.
    """
    tip = Tip(earlier.n, earlier.hash) if earlier is not None else Tip(0, None)
    if earlier is not None and earlier.address != later.address:
        raise Corrupt("these are heads of two threads", code="broken_proof")
    for body in bodies:
        followed = follow(tip, later.address, body)
        if followed is None:
            raise Corrupt(
                f"thread {later.thread}: what should be commit {tip.n + 1} does not continue commit {tip.n}",
                code="broken_chain",
            )
        tip = followed
    if (tip.n, tip.hash) != (later.n, later.hash):
        raise Corrupt(
            f"thread {later.thread}: the commits lead to commit {tip.n}, hash {tip.hash}, and not to commit {later.n}, "
            f"hash {later.hash}",
            code="broken_chain",
        )
