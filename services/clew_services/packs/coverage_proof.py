"""The checkpoint that covers a pack: found, and what leads from the pack's heads to its roots taken along."""

from __future__ import annotations

from clew_events.errors import Corrupt
from clew_events.subjects import Address, shard_of
from clew_projections.integrity.inclusion import HeadProof, key_of, leaves_of
from clew_projections.integrity.merkle import beside
from clew_projections.nats.jetstream import JetStream
from clew_projections.packs.layout import CheckpointCoverage, Scope
from clew_services.checkpoints.ledger import Ledger
from clew_services.checkpoints.note import VerifierKey
from clew_services.checkpoints.signed_checkpoint import SignedNote, read, verify_note
from clew_services.checkpoints.thread_proofs import heads_beside


async def chosen(ledger: Ledger, key: VerifierKey | None) -> SignedNote | None:
    """The last checkpoint of a deployment, if it has any.

    Raises:
        Corrupt: with a key given, it was not signed with that.
        Unavailable: JetStream does not answer.
    """
    latest = await ledger.latest()
    return verify_note(latest.note, key) if latest is not None and key is not None else latest


async def prove_coverage(
    js: JetStream, signed: SignedNote, key: VerifierKey | None, scope: Scope, threads: set[Address]
) -> CheckpointCoverage:
    """What a pack carries of a checkpoint. For a pack of a part, the shards in question are read up to it.

    Raises:
        Corrupt: the log is not what the checkpoint says.
        Unavailable: JetStream does not answer.
    """
    note, line = signed.note.decode(), str(key) if key is not None else None
    if scope.whole:
        return CheckpointCoverage(note=note, key=line)
    shards = len(signed.checkpoint.shards)
    concerned = {shard_of(address.thread, shards) for address in threads}
    places = {key_of(address) for address in threads}
    ways: list[tuple[tuple[str, ...], ...]] = []
    async with heads_beside(js, shards) as heads:
        for shard, said in enumerate(signed.checkpoint.shards):
            if shard not in concerned:
                ways.append(((said.root,),))
                continue
            try:
                leaves = leaves_of(await heads.agreeing_heads(shard, signed.checkpoint))
            except Corrupt as fault:
                raise Corrupt(
                    f"{fault.message}. Export with --without-checkpoint to have the log as it is nevertheless",
                    code=fault.code,
                ) from fault
            ways.append(tuple(tuple(each.hex() for each in way) for way in beside(leaves, places)))
    return CheckpointCoverage(note=note, key=line, beside=tuple(ways))


def proven(proof: HeadProof) -> CheckpointCoverage:
    """What the pack of one thread carries, from a proof of its head."""
    shards = read(proof.checkpoint.encode()).checkpoint.shards
    ours = shard_of(proof.thread, len(shards))
    ways = ((proof.path if shard == ours else (said.root,),) for shard, said in enumerate(shards))
    return CheckpointCoverage(note=proof.checkpoint, beside=tuple(ways))
