"""Comparison of a log with a checkpoint, over chains that were followed up to the checkpoint. Pure.

Some losses show in the numbers of a shard's stream, without reading it. Clew removes a commit from the log only where
it keeps one without its erased contents, which counts here, and no sequence is used twice. So a shard holds as many
commits as it has assigned sequences, less those that were missing already when the newest checkpoint was signed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from clew_events.subjects import Address
from clew_projections.findings import Finding
from clew_projections.integrity.chains import Chains
from clew_projections.integrity.checkpoint import Checkpoint, ShardHeads
from clew_projections.integrity.inclusion import Head, leaves_of
from clew_projections.integrity.merkle import subtree
from clew_projections.nats.stream_messages import StreamState


def count_gaps(signed: ShardHeads | None) -> int:
    """Return how many sequences of a shard were empty when a checkpoint was signed; 0 without a checkpoint."""
    return signed.seq - signed.commits - signed.misfits if signed is not None else 0


def find_loss(shard: int, reach: StreamState, checkpoint: Checkpoint | None) -> Finding | None:
    """Return the finding that a shard's stream has lost messages since a checkpoint, or ever, if it has."""
    signed = checkpoint.shards[shard] if checkpoint is not None and shard < len(checkpoint.shards) else None
    if (
        signed is not None
        and checkpoint is not None
        and (found := find_cut_off(shard, signed, reach.last_seq, checkpoint))
    ):
        return found
    missing = reach.last_seq - reach.messages - count_gaps(signed)
    if missing <= 0:
        return None
    since = f" since checkpoint {checkpoint.number}" if checkpoint is not None else ""
    what = f"shard {shard} has lost {missing} messages{since}: they were removed, and not by an erasure"
    return Finding(tenant="", thread="", code="removed", what=what, shard=shard)


def shard_statement(chains: Chains, seq: int) -> ShardHeads:
    """Return the entry of a checkpoint for a shard whose chains were followed up to a sequence."""
    heads = list(chains.heads())
    return ShardHeads(
        seq=seq,
        threads=len(heads),
        commits=sum(head.n for head in heads),
        misfits=chains.misfits,
        root=subtree(leaves_of(heads)).hash.hex(),
    )


def find_cut_off(shard: int, signed: ShardHeads, last_seq: int, checkpoint: Checkpoint) -> Finding | None:
    """Return the finding that a shard's stream ends before the sequence of a checkpoint, if it does."""
    if last_seq >= signed.seq:
        return None
    what = (
        f"shard {shard} ends at sequence {last_seq}, and checkpoint {checkpoint.number} was made at {signed.seq}: the "
        "log was cut off, or the checkpoint is of a later state of it, as after a restored backup"
    )
    return _of_shard(shard, "log_cut_off", what, last_seq)


def find_difference(shard: int, signed: ShardHeads, found: ShardHeads, checkpoint: Checkpoint) -> Finding | None:
    """Return the finding that a shard differs from a checkpoint, if it does, with what the numbers tell about it."""
    if found == signed:
        return None
    if found.threads < signed.threads:
        kind = f"{signed.threads - found.threads} of {signed.threads} threads were removed"
    elif found.commits < signed.commits:
        kind = f"{signed.commits - found.commits} of {signed.commits} commits were removed"
    elif (found.threads, found.commits) == (signed.threads, signed.commits):
        kind = f"it has as many threads ({signed.threads}) and commits ({signed.commits}), with different content"
    else:
        kind = (
            f"it has {found.threads} threads and {found.commits} commits, "
            f"more than {signed.threads} and {signed.commits}"
        )
    what = f"up to sequence {signed.seq}, shard {shard} is not what checkpoint {checkpoint.number} says: {kind}"
    return _of_shard(shard, "history_changed", what, signed.seq)


def compare_heads(shard: int, kept: Iterable[Head], then: Mapping[Address, Head], now: Chains) -> Iterator[Finding]:
    """Yield a finding for every thread whose head differs from the heads that were kept with a checkpoint.

    ``then`` are the log's heads at the checkpoint; ``now`` are the chains at the end of the log.
    """
    latest = {head.address: head for head in now.heads()}
    known = set[Address]()
    for was in kept:
        known.add(was.address)
        found = then.get(was.address)
        if found == was:
            continue
        if found is None and was.address in latest:
            code = "rewritten"
            what = f"its {was.n} commits are gone, and {latest[was.address].n} others were stored later"
        elif found is None:
            code, what = "thread_removed", f"its {was.n} commits are gone"
        elif found.n < was.n:
            code, what = "shortened", f"it had {was.n} commits, and has {found.n} of them"
        elif found.n > was.n:
            code, what = "lengthened", f"it had {was.n} commits, and has {found.n} in their place"
        else:
            code, what = (
                "rewritten",
                f"commit {was.n} had the hash {was.hash}, and has {found.hash}: the chain was rewritten",
            )
        yield _of_thread(was.address, shard, code, what)
    for address, found in then.items():
        if address not in known:
            yield _of_thread(address, shard, "thread_inserted", f"it did not exist, and has {found.n} commits")


def _of_shard(shard: int, code: str, what: str, seq: int) -> Finding:
    return Finding(tenant="", thread="", code=code, what=what, shard=shard, seq=seq)


def _of_thread(address: Address, shard: int, code: str, what: str) -> Finding:
    return Finding(tenant=address.tenant, thread=address.thread, code=code, what=what, shard=shard)
