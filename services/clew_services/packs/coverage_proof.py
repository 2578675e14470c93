"""The checkpoint that covers a pack, and the inclusion proofs of the pack's heads under it."""

from __future__ import annotations

from clew_events.errors import Corrupt
from clew_events.subjects import Address, shard_of
from clew_projections.history.log_reads import LogReads
from clew_projections.integrity.inclusion import HeadProof, key_of, leaves_of
from clew_projections.integrity.merkle import beside
from clew_projections.packs.layout import CheckpointCoverage, Scope
from clew_services.checkpoints.ledger import Ledger
from clew_services.checkpoints.note import VerifierKey
from clew_services.checkpoints.signed_checkpoint import SignedNote, read, verify_note
from clew_services.checkpoints.thread_proofs import temporary_heads


async def latest_checkpoint(ledger: Ledger, key: VerifierKey | None) -> SignedNote | None:
    """The last checkpoint of a deployment, if there is any.

    Raises:
        Corrupt: it is not signed with the given key.
        Unavailable: JetStream does not answer.
    """
    latest = await ledger.latest()
    return verify_note(latest.note, key) if latest is not None and key is not None else latest


async def prove_coverage(
    js: LogReads, signed: SignedNote, key: VerifierKey | None, scope: Scope, threads: set[Address]
) -> CheckpointCoverage:
    """The checkpoint and proofs to include in a pack. For a pack of a part, its shards are read up to the checkpoint.

    Raises:
        Corrupt: the log differs from the checkpoint.
        Unavailable: JetStream does not answer.
    """
    note, line = signed.note.decode(), str(key) if key is not None else None
    if scope.whole:
        return CheckpointCoverage(note=note, key=line)
    shards = len(signed.checkpoint.shards)
    concerned = {shard_of(address.thread, shards) for address in threads}
    places = {key_of(address) for address in threads}
    paths: list[tuple[tuple[str, ...], ...]] = []
    async with temporary_heads(js, shards) as heads:
        for shard, signed_heads in enumerate(signed.checkpoint.shards):
            if shard not in concerned:
                paths.append(((signed_heads.root,),))
                continue
            try:
                leaves = leaves_of(await heads.agreeing_heads(shard, signed.checkpoint))
            except Corrupt as fault:
                raise Corrupt(
                    f"{fault.message}. Export with --without-checkpoint to get the log as it is",
                    code=fault.code,
                ) from fault
            paths.append(tuple(tuple(sibling.hex() for sibling in path) for path in beside(leaves, places)))
    return CheckpointCoverage(note=note, key=line, beside=tuple(paths))


def from_head_proof(proof: HeadProof) -> CheckpointCoverage:
    """The checkpoint and proofs to include in the pack of one thread, from a proof of its head."""
    shards = read(proof.checkpoint.encode()).checkpoint.shards
    ours = shard_of(proof.thread, len(shards))
    paths = ((proof.path if shard == ours else (heads.root,),) for shard, heads in enumerate(shards))
    return CheckpointCoverage(note=proof.checkpoint, beside=tuple(paths))
