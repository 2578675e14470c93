"""Aegra, which serves LangGraph's API on PostgreSQL."""

from __future__ import annotations

import contextlib
from typing import Final

from bench.peers.contender import About, Contender, Enter, OverHttp, Place
from bench.peers.environments import Environment
from bench.peers.postgres import cluster, setting
from bench.peers.processes import free_port, server
from bench.peers.rivals.langgraph import GRAPH, agent_protocol

VERSION: Final = "0.6.0"
# It was written for SQLAlchemy 2.0, and does not start with 2.1; the last two make uvicorn faster where it finds them.
PACKAGES: Final = ("sqlalchemy[asyncio]==2.0.58", "uvloop==0.23.0", "httptools==0.9.0")
ENVIRONMENT: Final = Environment("aegra", (f"aegra-api=={VERSION}", f"aegra-cli=={VERSION}", *PACKAGES))
POOL: Final = 20


def entries() -> dict[str, Enter]:
    """The server by name."""
    return {"Aegra on PostgreSQL": _enter}


async def _enter(place: Place, stack: contextlib.AsyncExitStack) -> Contender:
    await ENVIRONMENT.installed(place.environments)
    folder, port = place.folder("aegra"), free_port()
    database, postmaster = await stack.enter_async_context(cluster(folder, "aegra"))
    (folder / "graph.py").write_text(GRAPH)
    (folder / "aegra.json").write_text('{"graphs":{"g":"./graph.py:graph"}}')
    command = (
        ENVIRONMENT.program(place.environments, "uvicorn"), "aegra_api.main:app",
        "--host", "127.0.0.1", "--port", str(port), "--log-level", "warning", "--no-access-log",
    )  # fmt: skip
    settings = {
        "DATABASE_URL": f"postgresql://postgres:none@127.0.0.1:{database}/aegra",
        "AUTH_TYPE": "noop",
        "AEGRA_CONFIG": str(folder / "aegra.json"),
        "LOG_LEVEL": "WARNING",
        "SQLALCHEMY_POOL_SIZE": str(POOL),
        "LANGGRAPH_MAX_POOL_SIZE": str(POOL),
    }
    pid = await stack.enter_async_context(
        server(command, port=port, log=folder / "said.log", environment=settings, folder=folder)
    )
    about = About(
        name="Aegra on PostgreSQL",
        version=f"aegra-api {VERSION}, PostgreSQL {(await setting(database, 'server_version')).partition('=')[2]}",
        durable=True,
        stored=f"fsync before the answer (PostgreSQL's SHOW: {await setting(database, 'fsync', 'synchronous_commit')})",
        set_up=f"`uvicorn aegra_api.main:app`, no access log, with uvloop; pools of {POOL} in place of 2 and 6",
    )
    return Contender(about, OverHttp(agent_protocol(port, {"order_by": "created_at DESC"})), (pid, postmaster))
