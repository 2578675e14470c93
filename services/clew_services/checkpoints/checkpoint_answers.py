"""Questions about checkpoints and proofs, answered as they cross the wire."""

from __future__ import annotations

from typing import assert_never

from clew_events.checkpoint_messages import (
    CheckpointPage,
    GetCheckpoint,
    GetProof,
    KeptProof,
    ListCheckpoints,
    SignedCheckpoint,
)
from clew_events.subjects import Address
from clew_services.checkpoints.ledger import Ledger
from clew_services.checkpoints.signed_checkpoint import SignedNote
from clew_services.checkpoints.thread_proofs import Proofs


class CheckpointQueries:
    """Answers about what was signed. Checkpoints are of the whole log, proofs of a tenant's thread."""

    def __init__(self, ledger: Ledger, proofs: Proofs) -> None:
        self._ledger = ledger
        self._proofs = proofs

    async def answer(
        self, tenant: str, query: ListCheckpoints | GetCheckpoint | GetProof
    ) -> CheckpointPage | SignedCheckpoint | KeptProof:
        """The answer to any of these.

        Raises:
            NotFound: there is no such checkpoint, or the thread had no commits under the last one.
            Corrupt: the log is not what was signed any more, or what stands among the checkpoints is none.
            Unavailable: JetStream does not answer.
        """
        match query:
            case ListCheckpoints():
                return await self.page(query)
            case GetCheckpoint():
                return await self.one(query)
            case GetProof():
                return await self.proof(tenant, query)
            case _:
                assert_never(query)

    async def page(self, query: ListCheckpoints) -> CheckpointPage:
        """A page of checkpoints, the newest first."""
        found = await self._ledger.before(query.before, query.limit)
        more = bool(found) and found[-1].checkpoint.number > 1
        return CheckpointPage(data=tuple(map(checkpoint_message, found)), has_more=more)

    async def one(self, query: GetCheckpoint) -> SignedCheckpoint:
        """The checkpoint of a number, or the latest."""
        return checkpoint_message(await self._ledger.chosen(query.number))

    async def proof(self, tenant: str, query: GetProof) -> KeptProof:
        """The proof of a thread's head under the latest checkpoint."""
        return await self._proofs.latest(Address(tenant, query.thread_id))


def checkpoint_message(signed: SignedNote) -> SignedCheckpoint:
    """A checkpoint as it crosses the wire."""
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
