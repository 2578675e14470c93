"""Google's Agent Development Kit, which calls threads sessions, on SQLite."""

from __future__ import annotations

import contextlib
import re
from typing import Final

from bench.peers.contender import About, Contender, Enter, Http, OverHttp, Place, http_request
from bench.peers.environments import Environment
from bench.peers.http_load import Request
from bench.peers.processes import free_port, server

VERSION: Final = "2.13.0"
ENVIRONMENT: Final = Environment("adk", (f"google-adk[db]=={VERSION}", "uvloop==0.23.0", "httptools==0.9.0"))
SESSIONS: Final = "/apps/bench/users/u1/sessions"


def entries() -> dict[str, Enter]:
    """The server by name."""
    return {"Google ADK on SQLite": _enter}


async def _enter(place: Place, stack: contextlib.AsyncExitStack) -> Contender:
    await ENVIRONMENT.installed(place.environments)
    folder, port = place.folder("adk"), free_port()
    agent = folder / "agents" / "bench"
    agent.mkdir(parents=True)
    (agent / "__init__.py").write_text("from . import agent\n")
    (agent / "agent.py").write_text(
        'from google.adk.agents import Agent\n\nroot_agent = Agent(name="bench", model="none")\n'
    )
    command = (
        ENVIRONMENT.program(place.environments, "adk"), "api_server", "--host", "127.0.0.1", "--port", str(port),
        "--log_level", "warning", "--session_service_uri", f"sqlite:///{folder}/adk.db", folder / "agents",
    )  # fmt: skip
    pid = await stack.enter_async_context(server(command, port=port, log=folder / "said.log", folder=folder))
    about = About(
        name="Google ADK on SQLite",
        version=f"google-adk {VERSION}",
        durable=True,
        stored="fsync before the answer (SQLite's defaults, which it leaves: synchronous=FULL, rollback journal)",
        set_up="`adk api_server` on `sqlite:///…`, with uvloop; its list has no limit and gives all sessions",
    )
    return Contender(about, OverHttp(_api(port)), (pid,))


def _api(port: int) -> Http:
    return Http(
        host="127.0.0.1",
        port=port,
        create=Request(http_request("POST", SESSIONS, {"state": {"user": "ada", "topic": "weather"}}), b"weather"),
        get=lambda session: http_request("GET", f"{SESSIONS}/{session}"),
        update=_update,
        newest=Request(http_request("GET", SESSIONS), b'"appName"', 20),
        find_id=re.compile(rb'"id": ?"([0-9a-f-]+)"'),
    )


def _update(session: str, number: int) -> Request:
    return Request(
        http_request("PATCH", f"{SESSIONS}/{session}", {"stateDelta": {"step": str(number)}}), b'"%d"' % number
    )
