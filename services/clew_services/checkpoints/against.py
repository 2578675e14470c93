"""The log of a deployment held against a checkpoint that somebody kept elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from clew_projections.finding import Finding
from clew_projections.jetstream.calls import JetStream
from clew_projections.proof.chains import Chains
from clew_projections.proof.comparing import cut_off, differing, differs, said_of
from clew_projections.proof.heads import Head
from clew_projections.proof.reading import Extent
from clew_projections.proof.verifying import Progress, Verified, Verifier
from clew_services.checkpoints.ledger import Ledger
from clew_services.checkpoints.signed import Signed


class Comparison:
    """Verifies a whole log, and that it holds what a checkpoint says, which is known to be signed rightly."""

    def __init__(self, js: JetStream, ledger: Ledger, verifier: Verifier, shards: int) -> None:
        self._js = js
        self._ledger = ledger
        self._verifier = verifier
        self._shards = shards

    async def compare(
        self,
        signed: Signed,
        heads: Sequence[Sequence[Head]] | None,
        extents: Sequence[Extent],
        *,
        progress: Progress,
    ) -> Verified:
        """Everything that is wrong with the log in itself, or other than the checkpoint says.

        With the ``heads`` of each shard that were kept with the checkpoint, every thread that differs is named.

        Raises:
            Unavailable: JetStream does not answer.
        """
        found = await self._beside(signed)
        if len(signed.checkpoint.shards) != self._shards:
            return Verified(threads=0, commits=0, findings=(found,) if found else ())
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(
                    self._shard(shard, signed, heads[shard] if heads is not None else None, each, progress)
                )
                for shard, each in enumerate(extents)
            ]
        return sum(
            (task.result() for task in tasks),
            Verified(threads=0, commits=0, findings=(found,) if found else ()),
        )

    async def _shard(
        self, shard: int, signed: Signed, heads: Sequence[Head] | None, reach: Extent, progress: Progress
    ) -> Verified:
        checkpoint = signed.checkpoint
        said = checkpoint.shards[shard]
        chains = Chains(shard, self._shards)
        await self._verifier.walk(shard, chains, 1, min(said.seq, reach.last_seq), progress=progress)
        found = said_of(chains, said.seq)
        then = {head.address: head for head in chains.heads()} if heads is not None and found != said else {}
        await self._verifier.walk(shard, chains, said.seq + 1, reach.last_seq, progress=progress)
        chains.end(reach.last_seq)
        findings = [
            cut_off(shard, said, reach.last_seq, checkpoint),
            differs(shard, said, found, checkpoint),
            *(differing(shard, heads, then, chains) if heads is not None and found != said else ()),
        ]
        judged = await self._verifier.judged(shard, chains)
        return judged + Verified(threads=0, commits=0, findings=tuple(each for each in findings if each is not None))

    async def _beside(self, signed: Signed) -> Finding | None:
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
