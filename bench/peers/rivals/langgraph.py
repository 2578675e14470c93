"""LangGraph's development server, which keeps threads in memory."""

from __future__ import annotations

import contextlib
import re
from typing import Final

from bench.peers.contender import About, Contender, Enter, Http, OverHttp, Place, http_request
from bench.peers.environments import Environment
from bench.peers.http_load import Request
from bench.peers.processes import free_port, server

VERSION: Final = "0.4.40"
ENVIRONMENT: Final = Environment("langgraph", (f"langgraph-cli[inmem]=={VERSION}", "langgraph-api==0.16.7"))
GRAPH: Final = '''"""The least of graphs: none of the lanes runs it."""
from typing import TypedDict
from langgraph.graph import END, START, StateGraph


class State(TypedDict):
    messages: list


builder = StateGraph(State)
builder.add_node("same", lambda state: state)
builder.add_edge(START, "same")
builder.add_edge("same", END)
graph = builder.compile()
'''


def entries() -> dict[str, Enter]:
    """The server by name."""
    return {"LangGraph dev server": _enter}


async def _enter(place: Place, stack: contextlib.AsyncExitStack) -> Contender:
    await ENVIRONMENT.installed(place.environments)
    folder, port = place.folder("langgraph"), free_port()
    (folder / "graph.py").write_text(GRAPH)
    (folder / "langgraph.json").write_text('{"dependencies":["."],"graphs":{"g":"./graph.py:graph"}}')
    command = (
        ENVIRONMENT.program(place.environments, "langgraph"), "dev", "--no-browser", "--no-reload",
        "--host", "127.0.0.1", "--port", str(port), "--server-log-level", "warning",
    )  # fmt: skip
    settings = {"LANGSMITH_TRACING": "false", "LANGGRAPH_CLI_NO_ANALYTICS": "1"}
    pid = await stack.enter_async_context(
        server(command, port=port, log=folder / "said.log", environment=settings, folder=folder)
    )
    about = About(
        name="LangGraph dev server",
        version=f"langgraph-cli {VERSION}, langgraph-api 0.16.7",
        durable=False,
        stored="in memory, written to a file from time to time (its documentation)",
        set_up="`langgraph dev --no-browser --no-reload`, log level warning, tracing off",
    )
    return Contender(about, OverHttp(agent_protocol(port, {"sort_by": "created_at", "sort_order": "desc"})), (pid,))


def agent_protocol(port: int, order: dict[str, str]) -> Http:
    """Threads as LangGraph's API has them, and whoever follows it; ``order`` asks for the newest first."""
    return Http(
        host="127.0.0.1",
        port=port,
        create=Request(http_request("POST", "/threads", {"metadata": {"user": "ada", "topic": "weather"}}), b"weather"),
        get=lambda thread: http_request("GET", f"/threads/{thread}"),
        update=_update,
        newest=Request(http_request("POST", "/threads/search", {"limit": 20, **order}), b'"thread_id"', 20),
        find_id=re.compile(rb'"thread_id": ?"([0-9a-f-]+)"'),
    )


def _update(thread: str, number: int) -> Request:
    return Request(http_request("PATCH", f"/threads/{thread}", {"metadata": {"step": str(number)}}), b'"%d"' % number)
