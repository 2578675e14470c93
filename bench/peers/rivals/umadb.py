"""UmaDB, an event store with a server of its own."""

from __future__ import annotations

import contextlib
from typing import Final

from bench.peers.contender import About, Contender, Enter, Place, driver
from bench.peers.environments import Environment
from bench.peers.processes import free_port, server

VERSION: Final = "0.7.8"
ENVIRONMENT: Final = Environment("umadb", (f"umadb=={VERSION}",))


def entries() -> dict[str, Enter]:
    """The server by name."""
    return {"UmaDB": _enter}


async def _enter(place: Place, stack: contextlib.AsyncExitStack) -> Contender:
    await ENVIRONMENT.installed(place.environments)
    folder, port = place.folder("umadb"), free_port()
    command = (
        ENVIRONMENT.program(place.environments, "umadb"), "--listen", f"127.0.0.1:{port}", "--db-path", folder / "db",
    )  # fmt: skip
    pid = await stack.enter_async_context(server(command, port=port, log=folder / "said.log"))
    python = ENVIRONMENT.program(place.environments, "python")
    driven = await stack.enter_async_context(
        driver((python, "-m", "bench.peers.drivers.with_umadb", f"http://127.0.0.1:{port}"), log=folder / "driver.log")
    )
    about = About(
        name="UmaDB",
        version=driven.facts["version"],
        durable=True,
        stored=driven.facts["stored"],
        set_up="its server with its defaults (a pipelined writer was tried: no faster), its own client in one process",
    )
    return Contender(about, driven, (pid,))
