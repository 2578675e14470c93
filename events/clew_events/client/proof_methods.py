"""Signed checkpoints and proofs, for who may ask about the past."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

import msgspec

from clew_events import subjects
from clew_events.checkpoint_messages import (
    CheckpointPage,
    GetCheckpoint,
    GetProof,
    KeptProof,
    ListCheckpoints,
    SignedCheckpoint,
)
from clew_events.client import decode
from clew_events.client.transport import Requester

PAGE: Final = 100
_ENCODE: Final = msgspec.json.Encoder().encode


class Proofs:
    """What was signed of the log, and what it proves of a thread.

    Nothing here checks a signature: keep what comes back, and check it with ``clew checkpoint check`` or your own
    program and a key that you trust.
    """

    def __init__(self, requester: Requester, *, tenant: str) -> None:
        self._vouching = requester
        self._for = tenant

    async def list_checkpoints(self, *, limit: int = 20, before: int | None = None) -> CheckpointPage:
        """A page of the log's checkpoints, the newest first: those ``before`` a number, or all."""
        query = ListCheckpoints(limit=limit, before=before)
        subject = subjects.query_subject(self._for, "list_checkpoints")
        return await self._vouching.ask(subject, _ENCODE(query), decode.checkpoint_page)

    async def iter_checkpoints(self) -> AsyncIterator[SignedCheckpoint]:
        """All checkpoints, the newest first, fetched page by page as they are needed."""
        before: int | None = None
        while True:
            page = await self.list_checkpoints(limit=PAGE, before=before)
            for checkpoint in page.data:
                yield checkpoint
            if not page.has_more:
                return
            before = page.data[-1].number

    async def get_checkpoint(self, number: int | None = None) -> SignedCheckpoint:
        """A checkpoint by its number, or the latest.

        Raises:
            NotFound: there is none.
        """
        subject = subjects.query_subject(self._for, "get_checkpoint")
        return await self._vouching.ask(subject, _ENCODE(GetCheckpoint(number=number)), decode.checkpoint)

    async def proof(self, thread_id: str) -> KeptProof:
        """What proves a thread's head under the latest checkpoint. In a large log the first one takes its time.

        Raises:
            NotFound: there is no checkpoint yet, or none that the thread is under.
            Corrupt: the log is not what was signed any more.
        """
        subject = subjects.query_subject(self._for, "proof")
        return await self._vouching.ask(subject, _ENCODE(GetProof(thread_id=thread_id)), decode.proof)
