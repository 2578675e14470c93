"""The library ``eventsourcing`` on SQLite and on PostgreSQL, in the process that uses it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from bench.peers.contender import About, Contender, Driven, Enter, Place, driver
from bench.peers.environments import Environment
from bench.peers.postgres import cluster

VERSION: Final = "9.5.6"
ENVIRONMENT: Final = Environment("eventsourcing", (f"eventsourcing[postgres]=={VERSION}",))
POOL: Final = 20


def entries() -> dict[str, Enter]:
    """The library on each database."""
    return {"eventsourcing on SQLite": _on_sqlite, "eventsourcing on PostgreSQL": _on_postgres}


async def _on_sqlite(place: Place, stack: contextlib.AsyncExitStack) -> Contender:
    await ENVIRONMENT.installed(place.environments)
    folder = place.folder("eventsourcing-sqlite")
    settings = {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": str(folder / "db.sqlite")}
    driven = await stack.enter_async_context(_driver(place, folder, settings))
    about = _about("eventsourcing on SQLite", driven.facts, "one process, threads")
    return Contender(about, driven, (driven.pid,))


async def _on_postgres(place: Place, stack: contextlib.AsyncExitStack) -> Contender:
    await ENVIRONMENT.installed(place.environments)
    folder = place.folder("eventsourcing-postgres")
    port, postmaster = await stack.enter_async_context(cluster(folder, "events"))
    settings = {
        "PERSISTENCE_MODULE": "eventsourcing.postgres",
        "POSTGRES_DBNAME": "events",
        "POSTGRES_HOST": "127.0.0.1",
        "POSTGRES_PORT": str(port),
        "POSTGRES_USER": "postgres",
        "POSTGRES_PASSWORD": "none",
        "POSTGRES_POOL_SIZE": str(POOL),
    }
    driven = await stack.enter_async_context(_driver(place, folder, settings))
    set_up = f"one process, threads; a pool of {POOL} connections in place of 5"
    return Contender(_about("eventsourcing on PostgreSQL", driven.facts, set_up), driven, (driven.pid, postmaster))


def _driver(place: Place, folder: Path, settings: Mapping[str, str]) -> contextlib.AbstractAsyncContextManager[Driven]:
    python = ENVIRONMENT.program(place.environments, "python")
    return driver((python, "-m", "bench.peers.drivers.with_eventsourcing"), settings, log=folder / "driver.log")


def _about(name: str, facts: Mapping[str, str], set_up: str) -> About:
    return About(
        name=name,
        version=facts["version"],
        durable=True,
        stored=f"fsync before the answer ({facts['stored']})",
        set_up=f"{set_up}; client and library are one",
    )
