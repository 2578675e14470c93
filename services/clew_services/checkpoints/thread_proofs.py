"""Inclusion proofs of a thread's head under a checkpoint, and of the commits between two of its heads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager

from clew_events.erasures import Certificate
from clew_events.errors import Corrupt, Invalid, NotFound
from clew_events.subjects import Address, event_stream, event_subject, is_thread, shard_of
from clew_projections.history.log_reads import LogReads
from clew_projections.integrity.heads_file import HeadsFile
from clew_projections.integrity.inclusion import HeadProof, check_between, check_included
from clew_projections.nats.replica_reads import whole
from clew_services.checkpoints.ledger import Ledger
from clew_services.checkpoints.log_heads import Heads, check_agrees
from clew_services.checkpoints.note import VerifierKey
from clew_services.checkpoints.signed_checkpoint import KeptProof, SignedNote, read, verify_note


class Proofs:
    """Inclusion proofs under the last checkpoint; the heads that were read for one are kept for the next."""

    def __init__(self, js: LogReads, shards: int, ledger: Ledger) -> None:
        self._js = js
        self._shards = shards
        self._ledger = ledger
        self._heads: Heads | None = None
        self._alone = asyncio.Lock()

    async def latest(self, address: Address) -> KeptProof:
        """The proof of a thread's head under the last checkpoint. The first after a start reads whole shards.

        Raises:
            NotFound: there is no checkpoint, or the thread had no commits then.
            Corrupt: the log differs from the checkpoint.
            Unavailable: JetStream does not answer.
        """
        async with self._alone:
            signed = await self._ledger.chosen(None)
            if self._heads is not None:
                try:
                    return KeptProof(head=await head_proof(self._js, self._heads, signed, address))
                except Corrupt:
                    # The history may have been changed and signed again: only reading it again can tell.
                    await self._heads.forget()
            self._heads = self._heads or Heads(self._js, self._shards, HeadsFile())
            try:
                return KeptProof(head=await head_proof(self._js, self._heads, signed, address))
            except Corrupt:
                await self._heads.forget()
                raise

    async def close(self) -> None:
        """Close and drop the heads."""
        heads, self._heads = self._heads, None
        if heads is not None:
            await heads.close()


@asynccontextmanager
async def temporary_heads(js: LogReads, shards: int) -> AsyncIterator[Heads]:
    """Heads in a temporary file, closed at the end of the block."""
    heads = Heads(js, shards, HeadsFile())
    try:
        yield heads
    finally:
        await heads.close()


async def head_proof(js: LogReads, heads: Heads, signed: SignedNote, address: Address) -> HeadProof:
    """The proof of a thread's head under a checkpoint. Reads the shard up to there, unless it was read already.

    Raises:
        NotFound: the thread had no commits then.
        Corrupt: the log differs from the checkpoint.
        Unavailable: JetStream does not answer.
    """
    checkpoint = signed.checkpoint
    shard = shard_of(address.thread, heads.shards)
    if len(checkpoint.shards) != heads.shards or (await js.extent(shard)).last_seq < checkpoint.shards[shard].seq:
        raise Corrupt(
            f"shard {shard} ends before the position of checkpoint {checkpoint.number}: run 'clew verify --against' "
            "for details",
            code="log_cut_off",
        )
    await heads.reach(shard, checkpoint.shards[shard].seq)
    await check_agrees(heads, shard, checkpoint)
    proof = await heads.proof(address)
    if proof is None:
        of_thread = is_thread(address)
        what = f"No thread found with id '{address.thread}'" if of_thread else "The tenant has no history of its own"
        raise NotFound(
            f"{what} under checkpoint {checkpoint.number}. A history is covered by the first checkpoint that is signed "
            "after its beginning",
            code="thread_not_found" if of_thread else "no_history",
        )
    head, path = proof
    return HeadProof(
        checkpoint=signed.note.decode(),
        tenant=head.tenant,
        thread=head.thread,
        n=head.n,
        hash=head.hash,
        path=tuple(path),
    )


async def bodies_between(js: LogReads, shards: int, address: Address, after: int, until: int) -> list[str]:
    """The stored bodies of a thread's commits from number ``after`` + 1 to number ``until``.

    Raises:
        Corrupt: a body is not UTF-8, so no proof can hold it.
        Unavailable: the log does not answer.
    """
    await js.refresh()
    shard = shard_of(address.thread, shards)
    bodies: list[str] = []
    n = 0
    async with aclosing(whole(js, event_stream(shard), event_subject(shard, address))) as found_pages:
        async for page in found_pages:
            for stored in page:
                n += 1
                if after < n <= until:
                    try:
                        bodies.append(stored.body.decode())
                    except UnicodeDecodeError:
                        raise Corrupt(
                            f"sequence {stored.seq} of shard {shard} is no commit", code="unreadable_commit"
                        ) from None
            if n >= until:
                break
    return bodies


def check(proof: KeptProof, key: VerifierKey | None, certificates: Sequence[Certificate] = ()) -> SignedNote:
    """Check a proof with a trusted key, and return the checkpoint that covers the head.

    ``certificates`` are those of the proof, whose signatures were checked.

    Without a key, signatures are not checked: the proof then holds under a checkpoint that anybody may have written.

    Raises:
        Corrupt: a signature, the path, or the commits between are wrong.
    """
    later = _read_note(proof.head.checkpoint, key)
    check_included(proof.head.head, proof.head.path, later.checkpoint)
    if proof.earlier is None:
        if proof.commits:
            check_between(None, proof.head.head, [body.encode() for body in proof.commits], certificates)
        return later
    earlier = _read_note(proof.earlier.checkpoint, key)
    check_included(proof.earlier.head, proof.earlier.path, earlier.checkpoint)
    if earlier.checkpoint.log != later.checkpoint.log:
        raise Corrupt("the two checkpoints are of two deployments", code="broken_proof")
    if earlier.checkpoint.number >= later.checkpoint.number:
        raise Invalid("the earlier checkpoint is not the earlier one", code="broken_proof")
    check_between(proof.earlier.head, proof.head.head, [body.encode() for body in proof.commits], certificates)
    return later


def _read_note(note: str, key: VerifierKey | None) -> SignedNote:
    return verify_note(note.encode(), key) if key is not None else read(note.encode())
