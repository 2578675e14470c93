"""The maker of checkpoints: reads the log from the last checkpoint on, and signs its new roots.

Nothing is signed that does not continue the last checkpoint: a process without stored heads first reads the log up to
that checkpoint's position, and compares the two.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from secrets import token_hex

from clew_events.errors import Corrupt
from clew_projections.findings import Finding
from clew_projections.integrity.checkpoint import FORMAT, Checkpoint, encode
from clew_projections.integrity.checkpoint_comparison import cut_off
from clew_projections.integrity.losses import lost
from clew_projections.integrity.verify import extent
from clew_projections.nats.jetstream import JetStream
from clew_services.checkpoints.ledger import Ledger
from clew_services.checkpoints.log_heads import Heads, check_agrees
from clew_services.checkpoints.note import SigningKey
from clew_services.checkpoints.signed_checkpoint import SignedNote


class Maker:
    """Signs checkpoints of the log. One process at a time should; of two, one finds its number in use."""

    def __init__(self, js: JetStream, ledger: Ledger, heads: Heads, key: SigningKey) -> None:
        self._js = js
        self._ledger = ledger
        self._heads = heads
        self._key = key

    async def make(self, *, reason: str | None = None) -> SignedNote | None:
        """Sign a checkpoint of the current log; ``None`` if nothing has changed, or another process was first.

        With a ``reason``, the history may differ from the last checkpoint; the reason is part of what is signed.

        Raises:
            Corrupt: the log differs from the last checkpoint, so nothing was signed.
            Unavailable: JetStream does not answer.
        """
        latest = await self._ledger.latest()
        if reason is not None:
            await self._heads.forget()
        elif latest is not None and self._heads.kept.signed != latest.hash:
            await self._follow(latest)
        elif latest is None and self._heads.kept.signed is not None:
            raise Corrupt(
                "checkpoints were signed from here, and there are none any more: they were removed, or this is another "
                "deployment. If that is intended, 'clew checkpoint make --reason' begins again",
                code="checkpoint_missing",
            )
        previous = latest.checkpoint if latest is not None else None
        reaches = [await extent(self._js, shard) for shard in range(self._heads.shards)]
        ends = [reach.last_seq for reach in reaches]
        if reason is None:
            # Otherwise commits that were removed before they were covered would never be missed.
            _refuse(lost(shard, reach, previous) for shard, reach in enumerate(reaches))
            if previous is not None and ends == [heads.seq for heads in previous.shards]:
                return None
        for shard, end in enumerate(ends):
            await self._heads.reach(shard, end)
        made = Checkpoint(
            v=FORMAT,
            log=previous.log if previous is not None else token_hex(16),
            number=previous.number + 1 if previous is not None else 1,
            at=datetime.now(UTC),
            prev=latest.hash if latest is not None else None,
            shards=tuple([await self._heads.statement(shard) for shard in range(self._heads.shards)]),
            reason=reason,
        )
        signed = SignedNote(made, self._key.sign(encode(made)))
        if not await self._ledger.append(signed):
            return None
        self._heads.kept.signed = signed.hash
        return signed

    async def _follow(self, latest: SignedNote) -> None:
        """Read the log from its beginning up to the last checkpoint's position, and compare it with the checkpoint."""
        await self._heads.forget()
        shards = latest.checkpoint.shards
        if len(shards) != self._heads.shards:
            raise Corrupt(
                f"checkpoint {latest.checkpoint.number} is of {len(shards)} shards, and the log has "
                f"{self._heads.shards}",
                code="other_deployment",
            )
        for shard, signed in enumerate(shards):
            _refuse([cut_off(shard, signed, (await extent(self._js, shard)).last_seq, latest.checkpoint)])
            await self._heads.reach(shard, signed.seq)
            await check_agrees(self._heads, shard, latest.checkpoint)
        self._heads.kept.signed = latest.hash


def _refuse(findings: Iterable[Finding | None]) -> None:
    for finding in findings:
        if finding is not None:
            raise Corrupt(finding.what, code=finding.code)
