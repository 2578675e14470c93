"""Making checkpoints: the log followed from the last one, and what it has become signed.

Nothing is signed that does not follow from the checkpoint before: whoever starts with nothing remembered reads the log
up to where that one was made, and holds the two against each other first.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from secrets import token_hex

from clew_events.errors import Corrupt
from clew_projections.findings import Finding
from clew_projections.integrity.checkpoint import FORMAT, Checkpoint, encode
from clew_projections.integrity.checkpoint_comparison import find_cut_off, find_loss
from clew_projections.integrity.verify import extent
from clew_projections.nats.jetstream import JetStream
from clew_services.checkpoints.ledger import Ledger
from clew_services.checkpoints.log_heads import Heads, check_agrees
from clew_services.checkpoints.note import SigningKey
from clew_services.checkpoints.signed_checkpoint import SignedNote


class Maker:
    """Signs what the log has become. One process at a time should; if two do, one of them finds its number taken."""

    def __init__(self, js: JetStream, ledger: Ledger, heads: Heads, key: SigningKey) -> None:
        self._js = js
        self._ledger = ledger
        self._heads = heads
        self._key = key

    async def make(self, *, reason: str | None = None) -> SignedNote | None:
        """A checkpoint of the log as it is now; nothing if nothing has changed, or another process was faster.

        With a ``reason``, the history may be another than the last checkpoint says; it is signed with the reason in it.

        Raises:
            Corrupt: the log is not what the last checkpoint says, so nothing was signed.
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
                "deployment. If it is meant to be, 'clew checkpoint make --reason' begins anew",
                code="checkpoint_missing",
            )
        before = latest.checkpoint if latest is not None else None
        reaches = [await extent(self._js, shard) for shard in range(self._heads.shards)]
        ends = [each.last_seq for each in reaches]
        if reason is None:
            # What was removed before it was ever signed would otherwise be signed as if it had never been there.
            _refuse(find_loss(shard, reach, before) for shard, reach in enumerate(reaches))
            if before is not None and ends == [each.seq for each in before.shards]:
                return None
        for shard, end in enumerate(ends):
            await self._heads.reach(shard, end)
        made = Checkpoint(
            v=FORMAT,
            log=before.log if before is not None else token_hex(16),
            number=before.number + 1 if before is not None else 1,
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
        """Read the log anew up to where the last checkpoint was made, and hold it against that."""
        await self._heads.forget()
        shards = latest.checkpoint.shards
        if len(shards) != self._heads.shards:
            raise Corrupt(
                f"checkpoint {latest.checkpoint.number} is of {len(shards)} shards, and the log has "
                f"{self._heads.shards}",
                code="other_deployment",
            )
        for shard, said in enumerate(shards):
            _refuse([find_cut_off(shard, said, (await extent(self._js, shard)).last_seq, latest.checkpoint)])
            await self._heads.reach(shard, said.seq)
            await check_agrees(self._heads, shard, latest.checkpoint)
        self._heads.kept.signed = latest.hash


def _refuse(findings: Iterable[Finding | None]) -> None:
    for found in findings:
        if found is not None:
            raise Corrupt(found.what, code=found.code)
