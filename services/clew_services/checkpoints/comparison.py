"""Comparison of the log with checkpoints: the deployment's newest one, and one that was kept elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from operator import itemgetter

from msgspec import Struct
from msgspec.structs import replace

from clew_events.subjects import Address, shard_of
from clew_projections.consistency.witnesses import Witness, check_known
from clew_projections.findings import Finding
from clew_projections.integrity.chains import Chains
from clew_projections.integrity.checkpoint_comparison import (
    compare_heads,
    find_cut_off,
    find_difference,
    shard_statement,
)
from clew_projections.integrity.inclusion import Head
from clew_projections.integrity.verify import (
    NOTHING_FOUND,
    Progress,
    Verification,
    Verifier,
    find_damage,
    find_removed,
)
from clew_projections.nats.jetstream import JetStream
from clew_projections.nats.stream_messages import StreamState
from clew_projections.packs.check import Mark
from clew_projections.wait import run_all
from clew_services.checkpoints.ledger import Ledger
from clew_services.checkpoints.shard_processes import ShardProcesses
from clew_services.checkpoints.signed_checkpoint import SignedNote


class _Walk(Struct):
    """A verified shard: its chains, other findings, and the commits and sequence up to which a checkpoint covers it."""

    chains: Chains
    findings: list[Finding]
    covered: int = 0
    covered_seq: int = 0


class Comparison:
    """Verifies a log, and compares it with checkpoints, whose signatures the caller has verified.

    A whole log is divided among ``processes``, if there are any.
    """

    def __init__(
        self,
        js: JetStream,
        ledger: Ledger,
        verifier: Verifier,
        shards: int,
        processes: ShardProcesses | None = None,
    ) -> None:
        self._js = js
        self._ledger = ledger
        self._verifier = verifier
        self._shards = shards
        self._processes = processes

    async def compare(
        self,
        signed: SignedNote,
        heads: Sequence[Sequence[Head]] | None,
        extents: Sequence[StreamState],
        *,
        newest: SignedNote | None = None,
        progress: Progress,
    ) -> Verification:
        """Verify the log, and compare it with a checkpoint that was kept elsewhere.

        With the ``heads`` of each shard, kept with the checkpoint, every differing thread is named. With the
        ``newest`` checkpoint of the deployment, the log is compared with that as well.

        Raises:
            Unavailable: JetStream does not answer.
        """
        finding = await self._check_own_chain(signed)
        own = (finding,) if finding is not None else ()
        if len(signed.checkpoint.shards) != self._shards:
            return Verification(threads=0, commits=0, findings=own)
        marks = [Mark(signed.checkpoint, heads)]
        if newest is not None and newest.note != signed.note:
            marks.append(Mark(newest.checkpoint))
        whole = await self.whole(marks, extents, progress=progress)
        return replace(whole, findings=(*own, *whole.findings))

    async def whole(
        self, marks: Sequence[Mark], extents: Sequence[StreamState], *, tenant: str | None = None, progress: Progress
    ) -> Verification:
        """Verify the log, or a tenant's part of it, and compare it with checkpoints.

        ``extents`` must be read after the checkpoints: otherwise a log that grew would look truncated.

        Raises:
            Unavailable: JetStream does not answer.
        """
        processes = self._processes
        own, *others = processes.divide(extents) if processes is not None else [range(len(extents))]
        found = await run_all(
            self.shards(own, marks, extents, tenant=tenant, progress=progress),
            *(processes.verify(part, marks, extents, tenant, progress) for part in others if processes is not None),
        )
        by_shard = [each for part in zip((own, *others), found, strict=True) for each in zip(*part, strict=True)]
        verification = sum((verified for _, verified in sorted(by_shard, key=itemgetter(0))), NOTHING_FOUND)
        return replace(verification, findings=(*self._of_others(marks), *verification.findings))

    async def shards(
        self,
        shards: Sequence[int],
        marks: Sequence[Mark],
        extents: Sequence[StreamState],
        *,
        tenant: str | None,
        progress: Progress,
    ) -> Sequence[Verification]:
        """Verify some shards in this process, and compare them with checkpoints.

        Raises:
            Unavailable: JetStream does not answer.
        """
        return await run_all(*(self._shard(shard, marks, extents[shard], tenant, progress) for shard in shards))

    async def thread(
        self,
        address: Address,
        marks: Sequence[Mark],
        extents: Sequence[StreamState],
        known: Iterable[Witness] = (),
        *,
        progress: Progress,
    ) -> Verification:
        """Verify a thread, and its shard, whose findings may concern the thread.

        The whole shard is read: a checkpoint covers all its threads together, so the thread matches it if all of them
        do. ``known`` is what views and index know of the thread, read before.

        Raises:
            Unavailable: JetStream does not answer.
        """
        shard = shard_of(address.thread, self._shards)
        walk = await self._walk(shard, marks, extents[shard], address.tenant, progress)
        links = await self._verifier.links(address)
        own = (
            find_damage(shard, address, links)
            or await self._verifier.find_unproved(shard, address)
            or await self._verifier.find_orphan(shard, address, links)
            or check_known(address, shard, known, links)
        )
        return Verification(
            threads=1 if links else 0,
            commits=len(links),
            findings=(
                *((own,) if own is not None else ()),
                *self._of_others(marks),
                *find_removed(shard, walk.chains),
                *walk.findings,
            ),
            covered=sum(link.seq <= walk.covered_seq for link in links),
        )

    async def _shard(
        self, shard: int, marks: Sequence[Mark], reach: StreamState, tenant: str | None, progress: Progress
    ) -> Verification:
        walk = await self._walk(shard, marks, reach, tenant, progress)
        judged = await self._verifier.judge(shard, walk.chains)
        return judged + Verification(threads=0, commits=0, findings=tuple(walk.findings), covered=walk.covered)

    async def _walk(
        self, shard: int, marks: Sequence[Mark], reach: StreamState, tenant: str | None, progress: Progress
    ) -> _Walk:
        """Verify a shard to its end, and compare it with each checkpoint at the checkpoint's position."""
        walk = _Walk(chains=Chains(shard, self._shards, tenant), findings=[])
        chains, first = walk.chains, 1
        later: list[tuple[Sequence[Head], Mapping[Address, Head]]] = []
        own = [mark for mark in marks if len(mark.checkpoint.shards) == self._shards]
        for mark in sorted(own, key=lambda mark: mark.checkpoint.shards[shard].seq):
            checkpoint, signed = mark.checkpoint, mark.checkpoint.shards[shard]
            last = min(signed.seq, reach.last_seq)
            await self._verifier.walk(shard, chains, first, last, progress=progress)
            first = max(first, last + 1)
            actual = shard_statement(chains, signed.seq)
            wrong = (
                find_cut_off(shard, signed, reach.last_seq, checkpoint),
                find_difference(shard, signed, actual, checkpoint),
            )
            walk.findings += [finding for finding in wrong if finding is not None]
            if wrong == (None, None):
                walk.covered, walk.covered_seq = chains.commits, signed.seq
            elif mark.heads is not None and actual != signed:
                later.append((mark.heads[shard], {head.address: head for head in chains.heads()}))
        await self._verifier.walk(shard, chains, first, reach.last_seq, progress=progress)
        chains.end(reach.last_seq)
        for heads, then in later:
            walk.findings += compare_heads(shard, heads, then, chains)
        return walk

    def _of_others(self, marks: Iterable[Mark]) -> Iterator[Finding]:
        """Findings for checkpoints of a log with another number of shards."""
        for mark in marks:
            number, shards = mark.checkpoint.number, len(mark.checkpoint.shards)
            if shards != self._shards:
                what = f"checkpoint {number} is of a log in {shards} shards, and this one has {self._shards}"
                yield _about(number, "other_deployment", what)

    async def _check_own_chain(self, signed: SignedNote) -> Finding | None:
        """The finding, if the deployment's own checkpoints contradict the one that was kept."""
        checkpoint = signed.checkpoint
        latest = await self._ledger.latest()
        if latest is None:
            what = f"there are no checkpoints here, but there was checkpoint {checkpoint.number}: they were removed"
        elif latest.checkpoint.log != checkpoint.log or len(checkpoint.shards) != self._shards:
            what = (
                f"checkpoint {checkpoint.number} is of the log {checkpoint.log} in {len(checkpoint.shards)} shards, "
                f"and the checkpoints here are of {latest.checkpoint.log} in {self._shards}: it is from another "
                "deployment, or the checkpoints here were begun again"
            )
            return _about(checkpoint.number, "other_deployment", what)
        elif latest.checkpoint.number < checkpoint.number:
            last = latest.checkpoint.number
            what = f"the checkpoints here end with {last}, before {checkpoint.number}: they were cut off"
        else:
            own = await self._ledger.get(checkpoint.number)
            if own is not None and own.note == signed.note:
                return None
            what = f"checkpoint {checkpoint.number} differs from the one here: the checkpoints were rewritten"
        return _about(checkpoint.number, "checkpoint_changed", what)


def _about(number: int, code: str, what: str) -> Finding:
    return Finding(tenant="", thread="", code=code, what=what, shard=0, seq=number)
