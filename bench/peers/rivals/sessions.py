"""What frameworks for agents keep their sessions in: their own store on SQLite, and Clew by its adapters."""

from __future__ import annotations

import contextlib
import sys
from functools import partial
from typing import Final

from bench.peers.contender import ROOT, About, Contender, Enter, Place, driver
from bench.peers.environments import Environment
from bench.peers.rivals import adk
from bench.peers.rivals.clew import SOURCE, SYNC
from bench.service import service

AGENTS: Final = Environment("agents", ("openai-agents==0.24.0",))
FRAMEWORKS: Final = {
    "agents": ("Agents SDK", AGENTS, "SQLiteSession"),
    "adk": ("ADK", adk.ENVIRONMENT, "DatabaseSessionService"),
}
SQLITE: Final = "fsync before the answer (SQLite's default, which it leaves: synchronous=FULL)"


def entries() -> dict[str, Enter]:
    """Both stores of each framework, by name."""
    found: dict[str, Enter] = {}
    for kind, (title, _, store) in FRAMEWORKS.items():
        found[f"Clew for {title}"] = partial(_clew, kind, f"Clew for {title}")
        found[f"{title}'s {store}"] = partial(_sqlite, kind, f"{title}'s {store}")
    return found


async def _sqlite(kind: str, name: str, place: Place, stack: contextlib.AsyncExitStack) -> Contender:
    _, environment, store = FRAMEWORKS[kind]
    await environment.installed(place.environments)
    folder = place.folder(f"{kind}-sqlite")
    python = environment.program(place.environments, "python")
    command = (python, "-m", "bench.peers.drivers.with_sessions", f"{kind}-sqlite", folder / "sessions.db")
    lanes = frozenset({f"turn-{kind}"})
    driven = await stack.enter_async_context(driver(command, log=folder / "driver.log", lanes=lanes))
    set_up = f"`{store}` on a file; one process, client and store are one"
    about = About(name=name, version=driven.facts["version"], durable=True, stored=SQLITE, set_up=set_up)
    return Contender(about, driven, (driven.pid,))


async def _clew(kind: str, name: str, place: Place, stack: contextlib.AsyncExitStack) -> Contender:
    folder = place.folder(f"{kind}-clew")
    running = await stack.enter_async_context(service("always", {"TMPDIR": str(place.data)}))
    command = (sys.executable, "-m", "bench.peers.drivers.with_sessions", f"{kind}-clew", running.nats)
    paths = ":".join(map(str, (ROOT, ROOT / "events", ROOT / "adapters")))
    lanes = frozenset({f"turn-{kind}"})
    driven = await stack.enter_async_context(
        driver(command, {"PYTHONPATH": paths}, log=folder / "driver.log", lanes=lanes)
    )
    stored = f"{SYNC['always']} ({SOURCE.format(sync='always')})"
    set_up = "the adapter in a process of its own, over NATS to `clew up`"
    about = About(name=name, version=driven.facts["version"], durable=True, stored=stored, set_up=set_up)
    return Contender(about, driven, (running.pid, driven.pid))
