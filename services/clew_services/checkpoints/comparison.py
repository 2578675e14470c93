"""The log of a deployment held against checkpoints: its own newest one, and one that somebody kept elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from clew_events.subjects import Address, shard_of
from clew_projections.consistency.witnesses import Known, check_known
from clew_projections.findings import Finding
from clew_projections.integrity.chains import Chains
from clew_projections.integrity.checkpoint_comparison import (
    compare_heads,
    find_cut_off,
    find_difference,
    shard_statement,
)
from clew_projections.integrity.inclusion import Head
from clew_projections.integrity.verify import Extent, Progress, Verification, Verifier, find_damage, find_removed
from clew_projections.nats.jetstream import JetStream
from clew_projections.packs.check import Mark
from clew_services.checkpoints.ledger import Ledger
from clew_services.checkpoints.signed_checkpoint import SignedNote


class _Walk(Struct):
    """A shard followed to its end: its chains, what no chain shows, and up to where it is what a checkpoint says."""

    chains: Chains
    findings: list[Finding]
    covered: int = 0
    covered_seq: int = 0


class Comparison:
    """Verifies a log, and that it holds what checkpoints say, which are known to be signed rightly."""

    def __init__(self, js: JetStream, ledger: Ledger, verifier: Verifier, shards: int) -> None:
        self._js = js
        self._ledger = ledger
        self._verifier = verifier
        self._shards = shards

    async def compare(
        self,
        signed: SignedNote,
        heads: Sequence[Sequence[Head]] | None,
        extents: Sequence[Extent],
        *,
        newest: SignedNote | None = None,
        progress: Progress,
    ) -> Verification:
        """Everything that is wrong with the log in itself, or other than a checkpoint says that was kept elsewhere.

        With the ``heads`` of each shard that were kept with the checkpoint, every thread that differs is named. With
        the ``newest`` checkpoint of the deployment, the log is held against that as well.

        Raises:
            Unavailable: JetStream does not answer.
        """
        found = await self._beside(signed)
        beside = (found,) if found is not None else ()
        if len(signed.checkpoint.shards) != self._shards:
            return Verification(threads=0, commits=0, findings=beside)
        marks = [Mark(signed.checkpoint, heads)]
        if newest is not None and newest.note != signed.note:
            marks.append(Mark(newest.checkpoint))
        whole = await self.whole(marks, extents, progress=progress)
        return replace(whole, findings=(*beside, *whole.findings))

    async def whole(
        self, marks: Sequence[Mark], extents: Sequence[Extent], *, tenant: str | None = None, progress: Progress
    ) -> Verification:
        """Everything that is wrong with the log, or with what a tenant has in it, in itself or by checkpoints.

        ``extents`` are of after the checkpoints were read: otherwise the log looks cut off where it only grew.

        Raises:
            Unavailable: JetStream does not answer.
        """
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(self._shard(shard, marks, each, tenant, progress))
                for shard, each in enumerate(extents)
            ]
        found = sum((task.result() for task in tasks), Verification(threads=0, commits=0, findings=()))
        return replace(found, findings=(*self._of_others(marks), *found.findings))

    async def thread(
        self,
        address: Address,
        marks: Sequence[Mark],
        extents: Sequence[Extent],
        known: Iterable[Known] = (),
        *,
        progress: Progress,
    ) -> Verification:
        """Everything that is wrong with a thread or, as that may be about the thread, with the shard it is in.

        The shard is read whole: a checkpoint says what all its threads were together, so the thread is what it says
        if all of them are. ``known`` is what others know of the thread, asked of them before.

        Raises:
            Unavailable: JetStream does not answer.
        """
        shard = shard_of(address.thread, self._shards)
        walk = await self._walk(shard, marks, extents[shard], address.tenant, progress)
        links = await self._verifier.links(address)
        own = find_damage(shard, address, links) or check_known(address, shard, known, links)
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
        self, shard: int, marks: Sequence[Mark], reach: Extent, tenant: str | None, progress: Progress
    ) -> Verification:
        walk = await self._walk(shard, marks, reach, tenant, progress)
        judged = await self._verifier.judge(shard, walk.chains)
        return judged + Verification(threads=0, commits=0, findings=tuple(walk.findings), covered=walk.covered)

    async def _walk(
        self, shard: int, marks: Sequence[Mark], reach: Extent, tenant: str | None, progress: Progress
    ) -> _Walk:
        """Follow a shard to its end, and hold it against each checkpoint where that was made."""
        walk = _Walk(chains=Chains(shard, self._shards, tenant), findings=[])
        chains, first = walk.chains, 1
        later: list[tuple[Sequence[Head], Mapping[Address, Head]]] = []
        own = [mark for mark in marks if len(mark.checkpoint.shards) == self._shards]
        for mark in sorted(own, key=lambda each: each.checkpoint.shards[shard].seq):
            checkpoint, said = mark.checkpoint, mark.checkpoint.shards[shard]
            last = min(said.seq, reach.last_seq)
            await self._verifier.walk(shard, chains, first, last, progress=progress)
            first = max(first, last + 1)
            found = shard_statement(chains, said.seq)
            wrong = (
                find_cut_off(shard, said, reach.last_seq, checkpoint),
                find_difference(shard, said, found, checkpoint),
            )
            walk.findings += [each for each in wrong if each is not None]
            if wrong == (None, None):
                walk.covered, walk.covered_seq = chains.commits, said.seq
            elif mark.heads is not None and found != said:
                later.append((mark.heads[shard], {head.address: head for head in chains.heads()}))
        await self._verifier.walk(shard, chains, first, reach.last_seq, progress=progress)
        chains.end(reach.last_seq)
        for heads, then in later:
            walk.findings += compare_heads(shard, heads, then, chains)
        return walk

    def _of_others(self, marks: Iterable[Mark]) -> Iterator[Finding]:
        """That checkpoints speak of a log in another number of shards."""
        for mark in marks:
            number, shards = mark.checkpoint.number, len(mark.checkpoint.shards)
            if shards != self._shards:
                what = f"checkpoint {number} is of a log in {shards} shards, and this one has {self._shards}"
                yield _about(number, "other_deployment", what)

    async def _beside(self, signed: SignedNote) -> Finding | None:
        """What is wrong with the deployment's own checkpoints, by the one that was kept."""
        checkpoint = signed.checkpoint
        latest = await self._ledger.latest()
        if latest is None:
            what = f"there are no checkpoints here, and there was checkpoint {checkpoint.number}: they were removed"
        elif latest.checkpoint.log != checkpoint.log or len(checkpoint.shards) != self._shards:
            what = (
                f"checkpoint {checkpoint.number} is of the log {checkpoint.log} in {len(checkpoint.shards)} shards, "
                f"and the checkpoints here are of {latest.checkpoint.log} in {self._shards}: it is from another "
                "deployment, or the checkpoints here were begun anew"
            )
            return _about(checkpoint.number, "other_deployment", what)
        elif latest.checkpoint.number < checkpoint.number:
            last = latest.checkpoint.number
            what = f"the checkpoints here end with {last}, before {checkpoint.number}: they were cut off"
        else:
            own = await self._ledger.get(checkpoint.number)
            if own is not None and own.note == signed.note:
                return None
            what = f"checkpoint {checkpoint.number} is another one here: the checkpoints were rewritten"
        return _about(checkpoint.number, "checkpoint_changed", what)


def _about(number: int, code: str, what: str) -> Finding:
    return Finding(tenant="", thread="", code=code, what=what, shard=0, seq=number)
