"""A log held against a checkpoint: pure, over chains that were followed as far as the checkpoint speaks.

Some losses the numbers of a shard's stream tell by themselves, without reading it. Clew removes nothing from the log,
and no sequence is given twice. So a stream holds as many messages as it has given sequences, less those that were gone
already when the newest checkpoint was signed.
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


def count_gaps(said: ShardHeads | None) -> int:
    """How many sequences of a shard held nothing when a checkpoint was signed; none before the first one."""
    return said.seq - said.commits - said.misfits if said is not None else 0


def find_loss(shard: int, reach: StreamState, checkpoint: Checkpoint | None) -> Finding | None:
    """That a shard's stream has lost messages since a checkpoint was signed, or since it began, if it has."""
    said = checkpoint.shards[shard] if checkpoint is not None and shard < len(checkpoint.shards) else None
    if said is not None and checkpoint is not None and (found := cut_off(shard, said, reach.last_seq, checkpoint)):
        return found
    missing = reach.last_seq - reach.messages - count_gaps(said)
    if missing <= 0:
        return None
    since = f" since checkpoint {checkpoint.number}" if checkpoint is not None else ""
    what = f"shard {shard} has lost {missing} messages{since}: they were removed, which Clew never does"
    return Finding(tenant="", thread="", code="removed", what=what, shard=shard)


def shard_statement(chains: Chains, seq: int) -> ShardHeads:
    """What a checkpoint would say of a shard whose chains were followed up to a sequence."""
    heads = list(chains.heads())
    return ShardHeads(
        seq=seq,
        threads=len(heads),
        commits=sum(head.n for head in heads),
        misfits=chains.misfits,
        root=subtree(leaves_of(heads)).hash.hex(),
    )


def cut_off(shard: int, said: ShardHeads, last_seq: int, checkpoint: Checkpoint) -> Finding | None:
    """That a shard's stream ends before the sequence at which a checkpoint was made, if it does."""
    if last_seq >= said.seq:
        return None
    what = (
        f"shard {shard} ends at sequence {last_seq}, and checkpoint {checkpoint.number} was made at {said.seq}: the "
        "log was cut off, or the checkpoint is of a later state of it, as after a restored backup"
    )
    return _of_shard(shard, "log_cut_off", what, last_seq)


def differs(shard: int, said: ShardHeads, found: ShardHeads, checkpoint: Checkpoint) -> Finding | None:
    """That a shard is not what a checkpoint says, if it is not, and as far as the numbers tell in what."""
    if found == said:
        return None
    if found.threads < said.threads:
        kind = f"{said.threads - found.threads} of {said.threads} threads were removed"
    elif found.commits < said.commits:
        kind = f"{said.commits - found.commits} of {said.commits} commits were removed"
    elif (found.threads, found.commits) == (said.threads, said.commits):
        kind = f"it has as many threads ({said.threads}) and commits ({said.commits}), and they say something else"
    else:
        kind = (
            f"it has {found.threads} threads and {found.commits} commits, more than {said.threads} and {said.commits}"
        )
    what = f"up to sequence {said.seq}, shard {shard} is not what checkpoint {checkpoint.number} says: {kind}"
    return _of_shard(shard, "history_changed", what, said.seq)


def differing_heads(shard: int, kept: Iterable[Head], then: Mapping[Address, Head], now: Chains) -> Iterator[Finding]:
    """Every thread whose head was another when a checkpoint was made, given all heads that were kept with it.

    ``then`` is what the log says of that moment; ``now`` are the chains followed to the log's end.
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
            what = f"its {was.n} commits are gone from their places, and {latest[was.address].n} others stand behind"
        elif found is None:
            code, what = "thread_removed", f"its {was.n} commits are gone"
        elif found.n < was.n:
            code, what = "shortened", f"it had {was.n} commits, and has {found.n} of them"
        elif found.n > was.n:
            code, what = "lengthened", f"it had {was.n} commits, and has {found.n} where these were"
        else:
            code, what = (
                "rewritten",
                f"commit {was.n} had the hash {was.hash}, and has {found.hash}: the chain is another",
            )
        yield _of_thread(was.address, shard, code, what)
    for address, found in then.items():
        if address not in known:
            yield _of_thread(address, shard, "thread_inserted", f"it was not there, and has {found.n} commits")


def _of_shard(shard: int, code: str, what: str, seq: int) -> Finding:
    return Finding(tenant="", thread="", code=code, what=what, shard=shard, seq=seq)


def _of_thread(address: Address, shard: int, code: str, what: str) -> Finding:
    return Finding(tenant=address.tenant, thread=address.thread, code=code, what=what, shard=shard)
