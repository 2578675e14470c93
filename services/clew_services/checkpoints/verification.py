"""The record of a deployment verified: its chains, what its newest checkpoint says, and what views and index know."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

from clew_events.errors import NotFound
from clew_events.subjects import EVENTS, Address, address_of, event_stream, shard_of
from clew_projections.consistency.index_check import IndexProof
from clew_projections.consistency.witnesses import Witnesses, check_positions
from clew_projections.findings import Finding
from clew_projections.integrity.verify import Progress, Verifier
from clew_projections.integrity.verify import Verification as Verified
from clew_projections.kv.bucket import Bucket
from clew_projections.nats.jetstream import JetStream
from clew_projections.packs.check import Mark
from clew_services.checkpoints.chain import CheckpointChain, read_newest, walk_chain
from clew_services.checkpoints.comparison import Comparison
from clew_services.checkpoints.ledger import Ledger
from clew_services.checkpoints.note import VerifierKey
from clew_services.open_deployment import OpenDeployment

Begin = Callable[[int], Progress]
"""Told how many messages there are to read; gives what is told how many more were read."""

SILENT: Final[Begin] = lambda _: lambda _: None  # noqa: E731 - for whoever shows nothing


class Verification(Struct, frozen=True):
    """What was verified, and the checkpoints that were read for it."""

    verified: Verified
    walked: CheckpointChain
    positions: tuple[Finding, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All that was found, each once."""
        told = {(each.code, each.shard) for each in self.verified.findings}
        positions = (each for each in self.positions if (each.code, each.shard) not in told)
        return (*self.verified.findings, *positions, *self.walked.findings)


class RecordVerifier:
    """Verifies one thread, what a tenant has, or all of a log, by everything that the deployment has to go by.

    Keys, by their ids, are those that somebody trusts: with them, a checkpoint that none of them signed is a finding,
    and so is that there is no checkpoint. Without, no signature is looked at.
    """

    def __init__(
        self, js: JetStream, shards: int, verifier: Verifier, comparison: Comparison, witnesses: Witnesses
    ) -> None:
        self._js = js
        self._shards = shards
        self._verifier = verifier
        self._comparison = comparison
        self._witnesses = witnesses

    async def thread(self, address: Address, keys: Mapping[str, VerifierKey], begin: Begin = SILENT) -> Verification:
        """One thread, and the shard that it is in.

        Raises:
            NotFound: neither the log nor anything that follows from it knows the thread, and nothing was removed that
                it could have been.
            Unavailable: JetStream does not answer, or the index cannot be read.
        """
        shard = shard_of(address.thread, self._shards)
        known, positions = await self._witnesses.of(address), await self._witnesses.positions()
        walked = await read_newest(self._js, keys)
        extents = await self._verifier.extents()
        progress = begin(extents[shard].messages)
        verified = await self._comparison.thread(address, _marks(walked), extents, known, progress=progress)
        ends = [each.last_seq for each in extents]
        cut_off = tuple(each for each in check_positions(positions, ends) if each.shard == shard)
        found = Verification(verified, walked, cut_off)
        if not verified.threads and not found.findings:
            raise await self._unknown(address, shard)
        return found

    async def whole(self, tenant: str | None, keys: Mapping[str, VerifierKey], begin: Begin = SILENT) -> Verification:
        """All of the log, with all checkpoints from the first on; or what a ``tenant`` has in it.

        Raises:
            NotFound: the log has threads, and none of them is the tenant's.
            Unavailable: JetStream does not answer, or the index cannot be read.
        """
        positions = await self._witnesses.positions()
        walked = await (walk_chain if tenant is None else read_newest)(self._js, keys)
        extents = await self._verifier.extents()
        progress = begin(sum(each.messages for each in extents))
        verified = await self._comparison.whole(_marks(walked), extents, tenant=tenant, progress=progress)
        cut_off = tuple(check_positions(positions, [each.last_seq for each in extents]))
        found = Verification(verified, walked, cut_off)
        others = any(each.last_seq for each in extents)
        if tenant is not None and others and not verified.threads and not found.findings:
            raise NotFound(f"tenant '{tenant}' has no threads", code="tenant_not_found")
        return found

    async def _unknown(self, address: Address, shard: int) -> NotFound:
        what = f"No thread found with id '{address.thread}' of tenant '{address.tenant}'."
        anywhere = f"{EVENTS}.{shard:02d}.*.{address.thread}"
        found = await self._js.newest_at_leader(event_stream(shard), anywhere, 0)
        if found is not None:
            what += f" Tenant '{address_of(found.subject).tenant}' has one: say --tenant."
        return NotFound(what, code="thread_not_found")


def _marks(walked: CheckpointChain) -> list[Mark]:
    return [Mark(walked.newest.checkpoint)] if walked.newest is not None else []


def compose_verifier(opened: OpenDeployment, threads: Bucket, index: Path | None = None) -> RecordVerifier:
    """Verifies a deployment by its chains, its checkpoints, the views in ``threads``, and the file of an index."""
    js, shards = opened.js, opened.shards
    proof = IndexProof(index, opened.histories()) if index is not None else None
    verifier = Verifier(js, shards)
    comparison = Comparison(js, Ledger(js), verifier, shards)
    return RecordVerifier(js, shards, verifier, comparison, Witnesses(threads, shards, proof))
