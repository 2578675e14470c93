"""Verification of a deployment's record: its chains, its checkpoints, and what views and index have of the log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

from clew_events.errors import NotFound
from clew_events.subjects import Address, shard_of
from clew_projections.consistency.index_check import IndexProof
from clew_projections.consistency.witnesses import Witnesses, check_positions
from clew_projections.findings import Finding
from clew_projections.history.histories import find_tenant
from clew_projections.integrity.verify import EvidenceReader, Progress, Verifier
from clew_projections.integrity.verify import Verification as Verified
from clew_projections.kv.bucket import Bucket
from clew_projections.nats.jetstream import JetStream
from clew_projections.packs.check import Mark
from clew_services.checkpoints.chain import CheckpointChain, read_newest, walk_chain
from clew_services.checkpoints.comparison import Comparison
from clew_services.checkpoints.ledger import Ledger
from clew_services.checkpoints.note import VerifierKey
from clew_services.checkpoints.shard_processes import ShardProcesses
from clew_services.open_deployment import OpenDeployment

Begin = Callable[[int], Progress]
"""Called with the number of messages to read; returns what is called with each number of further messages read."""

SILENT: Final[Begin] = lambda _: lambda _: None  # noqa: E731 - shows no progress


class Verification(Struct, frozen=True):
    """The result of a verification: the log, the checkpoints, and the positions of views and index."""

    verified: Verified
    walked: CheckpointChain
    positions: tuple[Finding, ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """All findings, each once."""
        known = {(finding.code, finding.shard) for finding in self.verified.findings}
        positions = (finding for finding in self.positions if (finding.code, finding.shard) not in known)
        return (*self.verified.findings, *positions, *self.walked.findings)


class RecordVerifier:
    """Verifies a thread, a tenant's threads, or all of the log, by everything that the deployment holds.

    With trusted keys, given by id, a checkpoint that none of them signed is a finding, and so is the absence of
    checkpoints. Without keys no signature is verified.
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
        """Verify a thread and its shard.

        Raises:
            NotFound: neither the log nor views and index have the thread, and no commits were removed that could have
                been its own.
            Unavailable: JetStream does not answer, or the index cannot be read.
        """
        shard = shard_of(address.thread, self._shards)
        known, positions = await self._witnesses.find(address), await self._witnesses.positions()
        walked = await read_newest(self._js, keys)
        extents = await self._verifier.extents()
        progress = begin(extents[shard].messages)
        verified = await self._comparison.thread(address, _marks(walked), extents, known, progress=progress)
        ends = [extent.last_seq for extent in extents]
        cut_off = tuple(finding for finding in check_positions(positions, ends) if finding.shard == shard)
        verification = Verification(verified, walked, cut_off)
        if not verified.threads and not verification.findings:
            raise await self._unknown(address, shard)
        return verification

    async def whole(self, tenant: str | None, keys: Mapping[str, VerifierKey], begin: Begin = SILENT) -> Verification:
        """Verify all of the log with all checkpoints, or a tenant's part of it with the newest checkpoint.

        Raises:
            NotFound: the log has commits, but none of the tenant's.
            Unavailable: JetStream does not answer, or the index cannot be read.
        """
        positions = await self._witnesses.positions()
        walked = await (walk_chain if tenant is None else read_newest)(self._js, keys)
        extents = await self._verifier.extents()
        progress = begin(sum(extent.messages for extent in extents))
        verified = await self._comparison.whole(_marks(walked), extents, tenant=tenant, progress=progress)
        cut_off = tuple(check_positions(positions, [extent.last_seq for extent in extents]))
        verification = Verification(verified, walked, cut_off)
        others = any(extent.last_seq for extent in extents)
        if tenant is not None and others and not verified.threads and not verification.findings:
            raise NotFound(f"tenant '{tenant}' has no threads", code="tenant_not_found")
        return verification

    async def _unknown(self, address: Address, shard: int) -> NotFound:
        what = f"No thread found with id '{address.thread}' of tenant '{address.tenant}'."
        if (other := await find_tenant(self._js, shard, address.thread)) is not None:
            what += f" Tenant '{other}' has one: name it with --tenant."
        return NotFound(what, code="thread_not_found")


def _marks(walked: CheckpointChain) -> list[Mark]:
    return [Mark(walked.newest.checkpoint)] if walked.newest is not None else []


def compose_verifier(
    opened: OpenDeployment,
    threads: Bucket,
    evidence: EvidenceReader,
    index: Path | None = None,
    processes: ShardProcesses | None = None,
) -> RecordVerifier:
    """Verifies a deployment by its chains, its checkpoints, the views in ``threads``, and the file of an index.

    ``evidence`` is what explains that contents are gone. A whole log is divided among ``processes``, if there are any.
    """
    js, shards = opened.js, opened.shards
    proof = IndexProof(index, opened.histories()) if index is not None else None
    verifier = Verifier(js, shards, evidence)
    comparison = Comparison(js, Ledger(js), verifier, shards, processes)
    return RecordVerifier(js, shards, verifier, comparison, Witnesses(threads, shards, proof))
