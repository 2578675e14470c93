"""Deployments of so many threads of one commit each, made once and kept, projected and indexed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from bench.generating.planning import Plan, planned
from bench.generating.writing import generated
from bench.lane import SHARDS
from bench.service import KEY, memory, service
from clew_events.subjects import Address
from clew_projections.index.index_folder import IndexFolder
from clew_projections.index.notes import notes
from clew_services import compose
from clew_services.status.deployment_status import status

TENANT: Final = "acme"
PATIENCE: Final = 3600.0
"""Seconds that a deployment may take to be ready, projected and indexed."""
WITH: Final = {"CLEW_API_KEYS": f"{KEY}:{TENANT}"}


class Made(Struct, frozen=True, kw_only=True):
    """How a deployment was made: commits a second that were projected and indexed at once, and megabytes afterwards."""

    threads: int
    projected_per_second: float
    indexed_per_second: float
    disk_mb: dict[str, float]
    memory_mb: dict[str, float]


def addresses(threads: int, tenant: str = TENANT) -> list[Address]:
    """The threads of a tenant in a deployment."""
    every = (each.address for each in planned(Plan(commits=threads, threads=threads)))
    return [address for address in every if address.tenant == tenant]


async def made(folder: Path, threads: int) -> Made:
    """Make the deployment if it is not there; how it went when it was made."""
    noted = folder / "made.json"
    if noted.exists():
        return msgspec.json.decode(noted.read_bytes(), type=Made)
    if not (folder / "nats").exists():
        async with generated(folder, Plan(commits=threads, threads=threads), shards=SHARDS):
            pass
    began = time.perf_counter()
    async with service("2m", WITH, data=folder, patience=PATIENCE) as running:

        async def projected() -> bool:
            return await behind(running.nats) == 0

        async def in_the_index() -> bool:
            return indexed(folder) == threads

        projecting, indexing = await asyncio.gather(_when(began, projected), _when(began, in_the_index))
        found = Made(
            threads=threads,
            projected_per_second=threads / projecting,
            indexed_per_second=threads / indexing,
            disk_mb=disk(folder),
            memory_mb=memory(running.pid),
        )
    noted.write_bytes(msgspec.json.encode(found))
    return found


def disk(folder: Path) -> dict[str, float]:
    """Megabytes on disk, by stream, and of the index."""
    found = {}
    for each in [*folder.glob("nats/jetstream/*/streams/*"), folder / "index"]:
        found[each.name] = sum(file.stat().st_blocks for file in each.rglob("*") if file.is_file()) * 512 / 1e6
    return found


def index_of(folder: Path) -> IndexFolder:
    """The index of the deployment in a folder."""
    root = folder / "index"
    (only,) = (each for each in root.iterdir() if each.is_dir())
    return IndexFolder(root, only.name)


def indexed(folder: Path) -> int:
    """How many commits the index has that is asked; 0 as long as there is none to ask."""
    try:
        index = index_of(folder)
    except (ValueError, OSError):
        return 0
    pointer = index.pointer()
    if pointer is None or not pointer.ready:
        return 0
    return sum(place.seq for place in notes(index.file(pointer.generation)).places)


async def behind(nats_url: str) -> int:
    """How many commits are not projected yet."""
    async with compose.connect(nats_url, name="bench") as clew:
        return sum(each.behind for each in (await status(clew.opened, clew.generations)).shards)


async def _when(began: float, done: Callable[[], Awaitable[bool]]) -> float:
    """Seconds until something is done, looked at now and then."""
    while not await done():
        await asyncio.sleep(0.5)
    return time.perf_counter() - began
