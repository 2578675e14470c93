"""The service that makes checkpoints: it follows the log from the last one and signs the new heads, at an interval.

A checkpoint is signed only if it follows from the one before. A process without stored heads reads the log up to the
last checkpoint and compares the two first. One process at a time makes checkpoints.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from secrets import token_hex
from typing import Final

from clew_events.errors import Corrupt, Invalid, Unavailable
from clew_projections.findings import Finding
from clew_projections.history.log_reads import LogReads
from clew_projections.integrity.checkpoint import FORMAT, Checkpoint, encode
from clew_projections.integrity.checkpoint_comparison import find_cut_off, find_loss
from clew_projections.integrity.heads_file import HeadsFile, place_in
from clew_projections.kv.bucket import Bucket
from clew_projections.wait import run_until_first
from clew_services.checkpoints import key_file
from clew_services.checkpoints.ledger import Ledger
from clew_services.checkpoints.log_heads import Heads, check_agrees
from clew_services.checkpoints.note import SigningKey
from clew_services.checkpoints.signed_checkpoint import SignedNote
from clew_services.eventstore.topology import LEASES
from clew_services.lease import Lease
from clew_services.settings import Settings


class Maker:
    """Makes checkpoints. If two processes do at the same time, only one of them can append under the next number.

    A checkpoint has the time of the clock, and never one before the last checkpoint's.
    """

    def __init__(
        self,
        js: LogReads,
        ledger: Ledger,
        heads: Heads,
        key: SigningKey,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._js = js
        self._ledger = ledger
        self._heads = heads
        self._key = key
        self._clock = clock

    async def make(self, *, reason: str | None = None) -> SignedNote | None:
        """Sign a checkpoint of the current log; ``None`` if nothing has changed, or another process was first.

        With a ``reason``, the log may differ from the last checkpoint; the reason is signed with it.

        Raises:
            Corrupt: the log differs from the last checkpoint, so nothing was signed.
            Unavailable: JetStream does not answer.
        """
        latest = await self._ledger.latest()
        if reason is not None:
            await self._heads.forget()
        elif latest is not None and await self._heads.signed() != latest.hash:
            await self._follow(latest)
        elif latest is None and await self._heads.signed() is not None:
            raise Corrupt(
                "this process has signed checkpoints, and the deployment has none: they were removed, or this is "
                "another deployment. If that is intended, begin again with 'clew checkpoint make --reason'",
                code="checkpoint_missing",
            )
        before = latest.checkpoint if latest is not None else None
        reaches = [await self._js.extent(shard) for shard in range(self._heads.shards)]
        ends = [each.last_seq for each in reaches]
        if reason is None:
            # Otherwise the loss of a commit that no checkpoint covered would be signed as correct.
            _refuse(find_loss(shard, reach, before) for shard, reach in enumerate(reaches))
            if before is not None and ends == [each.seq for each in before.shards]:
                return None
        for shard, end in enumerate(ends):
            await self._heads.reach(shard, end)
        now = self._clock()
        made = Checkpoint(
            v=FORMAT,
            log=before.log if before is not None else token_hex(16),
            number=before.number + 1 if before is not None else 1,
            at=max(now, before.at) if before is not None else now,
            prev=latest.hash if latest is not None else None,
            shards=tuple([await self._heads.statement(shard) for shard in range(self._heads.shards)]),
            reason=reason,
        )
        signed = SignedNote(made, self._key.sign(encode(made)))
        if not await self._ledger.append(signed):
            return None
        await self._heads.note_signed(signed.hash)
        return signed

    async def _follow(self, latest: SignedNote) -> None:
        """Read the log from its beginning up to the last checkpoint, and compare the two."""
        await self._heads.forget()
        shards = latest.checkpoint.shards
        if len(shards) != self._heads.shards:
            raise Corrupt(
                f"checkpoint {latest.checkpoint.number} covers {len(shards)} shards, and the log has "
                f"{self._heads.shards}",
                code="other_deployment",
            )
        for shard, said in enumerate(shards):
            _refuse([find_cut_off(shard, said, (await self._js.extent(shard)).last_seq, latest.checkpoint)])
            await self._heads.reach(shard, said.seq)
            await check_agrees(self._heads, shard, latest.checkpoint)
        await self._heads.note_signed(latest.hash)


def _refuse(findings: Iterable[Finding | None]) -> None:
    for found in findings:
        if found is not None:
            raise Corrupt(found.what, code=found.code)


FILE: Final = "heads.sqlite"
LEASE: Final = "checkpoints"
LOOK: Final = 5.0
"""Most seconds between two checks whether a checkpoint is due."""

_LOG: Final = logging.getLogger("clew.checkpoints")


async def serve_checkpoints(
    js: LogReads, shards: int, settings: Settings, stop: asyncio.Event, ready: asyncio.Event | None = None
) -> None:
    """Sign a checkpoint at the interval of the settings until ``stop`` is set; an unfinished one is abandoned.

    Nothing is signed without a key.

    Raises:
        Invalid: the key file of the settings does not exist or holds no key.
    """
    key = _key(settings)
    if ready is not None:
        ready.set()
    if key is None:
        await stop.wait()
        return
    heads, ledger = Heads(js, shards, HeadsFile(place_in(settings.data_folder, FILE))), Ledger(js)
    lease = Lease(Bucket(js, LEASES), LEASE)
    maker = Maker(js, ledger, heads, key)
    try:
        schedule = _Schedule(ledger, settings.checkpoint_seconds)
        await run_until_first(_sign(schedule, maker, lease, settings.checkpoint_seconds), stop.wait())
    finally:
        await heads.close()


async def _sign(schedule: _Schedule, maker: Maker, lease: Lease, every: float) -> None:
    refused = ""
    try:
        while True:
            try:
                due = await schedule.seconds_until_due()
                if due <= 0 and (lease.is_held or await lease.take()):
                    await _make(maker, lease)
                    due, refused = every, ""
            except Unavailable as fault:
                _LOG.warning("checkpoints wait for a retry: %s", fault)
                due = LOOK
            except Corrupt as fault:
                if fault.message != refused:
                    _LOG.error("checkpoints are no longer signed: %s", fault)
                due, refused = every, fault.message
            await asyncio.sleep(min(max(due, 0.05), LOOK, every))
    finally:
        await lease.give_up()


async def _make(maker: Maker, lease: Lease) -> None:
    try:
        await run_until_first(_make_and_log(maker), lease.keep())
    finally:
        await lease.give_up()


async def _make_and_log(maker: Maker) -> None:
    signed = await maker.make()
    if signed is not None:
        _LOG.info("signed checkpoint %d", signed.checkpoint.number)


class _Schedule:
    """When the next checkpoint is due: some seconds after the last one, by its time or since it was first seen here.

    So a checkpoint from the future, which a wrong clock signed, puts off the next one by the interval at most.
    """

    def __init__(self, ledger: Ledger, every: float) -> None:
        self._ledger = ledger
        self._every = every
        self._number = 0
        self._seen = 0.0

    async def seconds_until_due(self) -> float:
        """Seconds until the next checkpoint; 0 or less if it is due."""
        latest = await self._ledger.latest()
        if latest is None:
            return 0.0
        now = time.monotonic()
        if latest.checkpoint.number != self._number:
            self._number, self._seen = latest.checkpoint.number, now
        return self._every - max(now - self._seen, (datetime.now(UTC) - latest.checkpoint.at).total_seconds())


def _key(settings: Settings) -> SigningKey | None:
    if not settings.checkpoint_seconds:
        return None
    key = key_file.load_key(settings.signing_key_file)
    if key is None and settings.signing_key:
        raise Invalid(f"there is no signing key in {settings.signing_key}", code="no_key", param="signing_key")
    if key is None:
        _LOG.info("no checkpoints are signed: there is no key in %s", settings.signing_key_file)
    return key
