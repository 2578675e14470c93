"""The background verification as a service of the role ``projector``."""

from __future__ import annotations

import asyncio
from typing import Final

from clew_projections.integrity.verify import Verifier
from clew_projections.nats.jetstream import JetStream
from clew_services.checkpoints.ledger import Ledger
from clew_services.integrity.background_audit import Audit
from clew_services.settings import Settings

FILE: Final = "verified.sqlite"


async def serve_audit(
    js: JetStream, shards: int, settings: Settings, stop: asyncio.Event, ready: asyncio.Event
) -> None:
    """Verify the log until ``stop`` is set, at the interval of the settings, unless another process does."""
    ready.set()
    folder = settings.data_folder
    file = folder / FILE if folder.is_dir() else None
    audit = Audit(js, Ledger(js), Verifier(js, shards), shards, every=settings.verify_seconds, file=file)
    await audit.run(stop)
