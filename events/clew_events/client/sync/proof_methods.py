"""Signed checkpoints and proofs, as in :mod:`clew_events.client.proof_methods`."""

from __future__ import annotations

from collections.abc import Iterator

from clew_events.checkpoint_messages import CheckpointPage, KeptProof, SignedCheckpoint
from clew_events.client import client
from clew_events.client.proof_methods import PAGE
from clew_events.client.sync.background import Background


class Proofs:
    """What was signed of the log, and what it proves; see :class:`clew_events.client.proof_methods.Proofs`."""

    _clew: client.Clew
    _background: Background

    def list_checkpoints(self, *, limit: int = 20, before: int | None = None) -> CheckpointPage:
        """A page of the log's checkpoints, the newest first: those ``before`` a number, or all."""
        return self._background.run(self._clew.list_checkpoints(limit=limit, before=before))

    def iter_checkpoints(self) -> Iterator[SignedCheckpoint]:
        """All checkpoints, the newest first, fetched page by page as they are needed."""
        before: int | None = None
        while True:
            page = self.list_checkpoints(limit=PAGE, before=before)
            yield from page.data
            if not page.has_more:
                return
            before = page.data[-1].number

    def get_checkpoint(self, number: int | None = None) -> SignedCheckpoint:
        """A checkpoint by its number, or the latest."""
        return self._background.run(self._clew.get_checkpoint(number))

    def proof(self, thread_id: str) -> KeptProof:
        """What proves a thread's head under the latest checkpoint. In a large log the first one takes its time."""
        return self._background.run(self._clew.proof(thread_id))
