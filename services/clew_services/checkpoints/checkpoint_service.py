"""The service that signs checkpoints at an interval, in one process at a time."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from clew_events.errors import ClewError, Corrupt, Invalid, Unavailable
from clew_projections.integrity.heads_file import HeadsFile
from clew_projections.kv.bucket import Bucket
from clew_projections.nats.jetstream import JetStream
from clew_projections.wait import run_until_first
from clew_services.checkpoints import key_file
from clew_services.checkpoints.ledger import Ledger
from clew_services.checkpoints.log_heads import Heads
from clew_services.checkpoints.maker import Maker
from clew_services.checkpoints.note import SigningKey
from clew_services.coordination.lease import Lease
from clew_services.eventstore.topology import LEASES
from clew_services.settings import Settings

FILE: Final = "heads.sqlite"
LEASE: Final = "checkpoints"
LOOK: Final = 5.0
"""Most seconds between two checks whether a checkpoint is due."""

_LOG: Final = logging.getLogger("clew.checkpoints")


async def serve_checkpoints(
    js: JetStream, shards: int, settings: Settings, stop: asyncio.Event, ready: asyncio.Event | None = None
) -> None:
    """Sign a checkpoint at the interval of the settings until ``stop`` is set; an unfinished one is given up.

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
    folder = settings.data_folder
    heads, ledger = Heads(js, shards, _heads_file(folder)), Ledger(js)
    lease = Lease(Bucket(js, LEASES), LEASE)
    maker = Maker(js, ledger, heads, key)
    try:
        await run_until_first(_sign(ledger, maker, lease, settings.checkpoint_seconds), stop.wait())
    finally:
        await heads.close()


async def _sign(ledger: Ledger, maker: Maker, lease: Lease, every: float) -> None:
    refused = ""
    try:
        while True:
            try:
                due = await _seconds_until_due(ledger, every)
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
    renewal = asyncio.create_task(lease.keep())
    making = asyncio.create_task(maker.make())
    try:
        await asyncio.wait({renewal, making}, return_when=asyncio.FIRST_COMPLETED)
        if not making.done():
            renewal.result()  # raises the reason for which the lease was lost
        signed = await making
        if signed is not None:
            _LOG.info("signed checkpoint %d", signed.checkpoint.number)
    finally:
        for task in (renewal, making):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, ClewError):
                await task
        await lease.give_up()


async def _seconds_until_due(ledger: Ledger, every: float) -> float:
    """Seconds until the next checkpoint."""
    latest = await ledger.latest()
    if latest is None:
        return 0.0
    return every - (datetime.now(UTC) - latest.checkpoint.at).total_seconds()


def _key(settings: Settings) -> SigningKey | None:
    if not settings.checkpoint_seconds:
        return None
    key = key_file.load_key(settings.signing_key_file)
    if key is None and settings.signing_key:
        raise Invalid(f"there is no signing key in {settings.signing_key}", code="no_key", param="signing_key")
    if key is None:
        _LOG.info("no checkpoints are signed: there is no key in %s", settings.signing_key_file)
    return key


def _heads_file(folder: Path) -> HeadsFile:
    return HeadsFile(folder / FILE) if folder.is_dir() else HeadsFile()
