"""The background verification as a service of the role ``projector``."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from clew_services.settings import Settings

if TYPE_CHECKING:
    from clew_services.compose import Clew

FILE: Final = "verified.sqlite"


async def serve_audit(clew: Clew, settings: Settings, stop: asyncio.Event, ready: asyncio.Event) -> None:
    """Verify the log until ``stop`` is set, at the interval of the settings, unless another process does."""
    ready.set()
    folder = settings.data_folder
    file = folder / FILE if folder.is_dir() else None
    await clew.audit(settings.verify_seconds, file).run(stop)
