"""Audit packs beside raw nats-py: the whole log exported, and a pack verified with no server."""

from __future__ import annotations

import asyncio
import time
from itertools import count
from pathlib import Path

from bench.load import Measured
from clew_projections.packs.layout import Scope
from clew_projections.packs.pack import Pack
from clew_services.compose import Clew
from clew_services.packs.check_pack import check_pack
from clew_services.packs.exporter import Exporter
from clew_services.packs.pack_files import export

_NUMBERS = count()


async def exporting(clew: Clew, commits: int, folder: Path) -> Measured:
    """The whole log written into a file, synced."""
    file = folder / f"{next(_NUMBERS)}.clew"
    started = time.perf_counter()
    found = await export(Exporter(clew.js, clew.ledger, clew.deployment), Scope(), file)
    return _measured(started, found.commits, commits)


async def verifying(commits: int, folder: Path) -> Measured:
    """A pack that was exported, every byte and every chain of it checked."""
    pack = Pack(next(folder.glob("*.clew")))
    started = time.perf_counter()
    found = (await asyncio.to_thread(check_pack, pack, progress=lambda _: None)).verified
    if found.findings:
        raise RuntimeError(found.findings[0].what)
    return _measured(started, found.commits, commits)


def _measured(started: float, found: int, commits: int) -> Measured:
    if found != commits:
        raise RuntimeError(f"{found} commits of {commits}")
    return Measured(per_second=commits / (time.perf_counter() - started), p50=0, p99=0, count=commits)
