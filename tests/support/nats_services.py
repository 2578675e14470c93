"""Clew's NATS services, run in this process or in one that can be killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path

from clew_events.nats_security import UNSECURED, NatsSecurity
from clew_services.compose import Clew, connect
from clew_services.compose.roles import serve_commands, serve_inbox, serve_queries

Serve = Callable[[Clew, asyncio.Event, asyncio.Event], Awaitable[None]]
ALL: tuple[Serve, ...] = (serve_commands, serve_queries, serve_inbox)
PATHS = os.pathsep.join(
    str(Path(__file__).parents[2] / part) for part in ("events", "projections", "services", "adapters")
)

CHILD = """
import asyncio, sys
from clew_services.compose import connect
from clew_services.compose.roles import serve_commands, serve_inbox, serve_queries

ROLES = {"commands": serve_commands, "queries": serve_queries, "inbox": serve_inbox}

async def main():
    async with connect(sys.argv[1], name="child") as clew, asyncio.TaskGroup() as tasks:
        for role in sys.argv[2:]:
            ready = asyncio.Event()
            tasks.create_task(ROLES[role](clew, asyncio.Event(), ready))
            await ready.wait()
        print("ready", flush=True)

asyncio.run(main())
"""


@contextlib.asynccontextmanager
async def served(clew: Clew, serves: Sequence[Serve] = ALL) -> AsyncIterator[asyncio.Event]:
    """The services, ready; they are stopped in order at the end of the block, or when the event is set."""
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        for serve in serves:
            ready = asyncio.Event()
            tasks.create_task(serve(clew, stop, ready))
            await ready.wait()
        try:
            yield stop
        finally:
            stop.set()


@contextlib.asynccontextmanager
async def all_of_clew(url: str, security: NatsSecurity = UNSECURED) -> AsyncIterator[Clew]:
    """All services and the projectors on a connection of their own, ready; stopped in order at the end of the block.

    They live in one task, as the fixtures of a module are set up and torn down in two.
    """
    ready: asyncio.Future[Clew] = asyncio.get_running_loop().create_future()
    done = asyncio.Event()

    async def run() -> None:
        async with connect(url, name="clew", security=security) as composed, served(composed) as stop:
            projecting = asyncio.create_task(composed.project(stop))
            ready.set_result(composed)
            await done.wait()
            stop.set()
            await projecting

    running = asyncio.create_task(run())
    try:
        async with asyncio.timeout(60):
            await asyncio.wait({ready, running}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
        yield ready.result()
    finally:
        done.set()
        if not ready.done():
            running.cancel()
        await running


@contextlib.asynccontextmanager
async def child(url: str, *roles: str, first: str = "") -> AsyncIterator[asyncio.subprocess.Process]:
    """The services in a process of their own, ready; it is killed at the end of the block.

    ``first`` is Python that it runs before anything else.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", f"import asyncio\n{first}\n{CHILD}", url, *roles,
        env={**os.environ, "PYTHONPATH": PATHS}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    try:
        assert await process.stdout.readline() == b"ready\n"
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
