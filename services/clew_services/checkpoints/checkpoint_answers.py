"""Queries for checkpoints and inclusion proofs."""

from __future__ import annotations

from typing import assert_never

from clew_events.checkpoint_messages import (
    CheckpointPage,
    GetCheckpoint,
    GetProof,
    HeadProof,
    KeptProof,
    ListCheckpoints,
    SignedCheckpoint,
)
from clew_events.subjects import TENANT, Address
from clew_services.checkpoints.ledger import Ledger
from clew_services.checkpoints.signed_checkpoint import SignedNote
from clew_services.checkpoints.thread_proofs import Proofs


class CheckpointQueries:
    """Answers queries for checkpoints, which cover the whole log, and for inclusion proofs of a tenant's threads."""

    def __init__(self, ledger: Ledger, proofs: Proofs) -> None:
        self._ledger = ledger
        self._proofs = proofs

    async def answer(
        self, tenant: str, query: ListCheckpoints | GetCheckpoint | GetProof
    ) -> CheckpointPage | SignedCheckpoint | KeptProof:
        """The answer to a query.

        Raises:
            NotFound: there is no such checkpoint, or the last one does not cover the thread.
            Corrupt: the log differs from what was signed, or a checkpoint cannot be read.
            Unavailable: JetStream does not answer.
        """
        match query:
            case ListCheckpoints():
                return await self.page(query)
            case GetCheckpoint():
                return await self.one(query)
            case GetProof():
                return KeptProof(head=await self.proof(Address(tenant, query.thread_id or TENANT)))
            case _:
                assert_never(query)

    async def page(self, query: ListCheckpoints) -> CheckpointPage:
        """A page of checkpoints, the newest first."""
        notes = await self._ledger.before(query.after, query.limit)
        more = bool(notes) and notes[-1].checkpoint.number > 1
        return CheckpointPage(data=tuple(map(checkpoint_message, notes)), has_more=more)

    async def one(self, query: GetCheckpoint) -> SignedCheckpoint:
        """The checkpoint with a number, or the latest."""
        return checkpoint_message(await self._ledger.chosen(query.number))

    async def proof(self, address: Address) -> HeadProof:
        """The inclusion proof of a history's head under the latest checkpoint."""
        return (await self._proofs.latest(address)).head


def checkpoint_message(signed: SignedNote) -> SignedCheckpoint:
    """A checkpoint as a reply."""
    checkpoint = signed.checkpoint
    return SignedCheckpoint(
        number=checkpoint.number,
        created_at=int(checkpoint.at.timestamp()),
        at=checkpoint.at,
        log=checkpoint.log,
        prev=checkpoint.prev,
        shards=checkpoint.shards,
        reason=checkpoint.reason,
        hash=signed.hash,
        keys=signed.key_ids,
        note=signed.note.decode(),
    )
