"""How long a start takes, and its parts: the server alone, then everything, then the index that answers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import time
from pathlib import Path

import msgspec
import nats
from msgspec import Struct

from bench.scaling.deployments import PATIENCE, TENANT, WITH, index_of
from bench.service import computed, descendants, memory, service
from clew_events.subjects import query_subject
from clew_projections.index.notes import notes
from clew_projections.indexer.snapshots import Snapshots
from clew_services import compose


class Start(Struct, frozen=True, kw_only=True):
    """Seconds from the start of ``clew up`` until the server takes clients, all is ready, and lists are answered.

    ``cpu`` is what all processes together have computed by then, which says more where others compute as well.
    """

    after: str
    server: float
    ready: float
    lists: float
    cpu: float
    memory_mb: dict[str, float]


async def starts(folder: Path) -> list[Start]:
    """One start after each kind of end."""
    await _snapshot(folder)
    found = [await start(folder, "a stop", kill=True), await start(folder, "kill -9 of all processes")]
    shutil.rmtree(folder / "index")
    found.append(await start(folder, "a stop, without an index: from the snapshot"))
    return found


async def start(folder: Path, after: str, *, kill: bool = False) -> Start:
    """Start ``clew up`` on a deployment, and stop or ``kill`` it when lists are answered."""
    ports = set(folder.glob("*.ports"))
    began = time.perf_counter()
    seeing = asyncio.create_task(_server(folder, ports, began))
    async with service("always", WITH, data=folder, patience=PATIENCE) as running:
        ready = time.perf_counter() - began
        nc = await nats.connect(running.nats)
        while True:
            reply = await nc.request(query_subject(TENANT, "list_threads"), b"{}", timeout=30)
            if reply.data.startswith(b'{"ok":'):
                break
            await asyncio.sleep(0.02)
        lists, cpu = time.perf_counter() - began, computed(running.pid)
        found = Start(
            after=after,
            server=await seeing,
            ready=ready,
            lists=lists,
            cpu=cpu,
            memory_mb=memory(running.pid),
        )
        await nc.close()
        if kill:
            for pid in descendants(running.pid):
                with contextlib.suppress(ProcessLookupError):  # its parent's death was its own
                    os.kill(pid, signal.SIGKILL)
    return found


async def _server(folder: Path, before: set[Path], began: float) -> float:
    """When the server takes clients, JetStream recovered."""
    while True:
        for file in set(folder.glob("*.ports")) - before:
            try:
                port = int(msgspec.json.decode(file.read_bytes(), type=_Ports).nats[0].rpartition(":")[2])
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                greeted = (await reader.readline()).startswith(b"INFO ")
                writer.close()
                if greeted:
                    return time.perf_counter() - began
            except (OSError, msgspec.DecodeError, IndexError):
                pass
        await asyncio.sleep(0.02)


class _Ports(Struct, frozen=True):
    nats: list[str]


async def _snapshot(folder: Path) -> None:
    """A snapshot of the index as it is, which a service would take after some minutes by itself."""
    index = index_of(folder)
    pointer = index.pointer()
    if pointer is None:
        raise RuntimeError(f"there is no index in {folder}")
    file = index.file(pointer.generation)
    marks = {place.shard: place.seq for place in notes(file).places}
    async with (
        service("2m", WITH, data=folder, patience=PATIENCE) as running,
        compose.connect(running.nats, name="bench") as clew,
    ):
        snapshots = Snapshots(clew.nc, clew.js, clew.deployment.identity)
        if not await snapshots.usable():
            await snapshots.store(file, marks)
