"""Sessions of a framework, in its own store or in Clew: ``python -m bench.peers.drivers.with_sessions STORE WHERE``.

A turn is what a framework does for one question: it reads what was said, the newest twenty of it, stores the question,
and then the answer. ``append`` makes sessions with a first turn in them, and ``turn`` goes round those.
"""
# ruff: noqa: PLC0415 - an environment has what one of the stores imports

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING, Any, Final

from bench.peers.drivers.driving import repeat, serve

if TYPE_CHECKING:
    from agents import Session
    from google.adk.sessions import BaseSessionService

Turn = Callable[[], Awaitable[None]]
Begin = Callable[[str], Awaitable[Turn]]
"""Makes a session of a name, without anything in it, and returns what takes a turn in it."""
NEWEST: Final = 20
ASKED: Final = "How warm is it?"
ANSWERED: Final = "It is 21 degrees in the shade, and warmer where the sun is; take a hat along." * 4


@asynccontextmanager
async def _agents_sqlite(where: str) -> AsyncIterator[Begin]:
    from agents import SQLiteSession

    yield lambda name: _begin_agents(SQLiteSession(name, where))


@asynccontextmanager
async def _agents_clew(where: str) -> AsyncIterator[Begin]:
    from clew_adapters.agents import ClewSession
    from clew_events.client import connect

    async with connect(where, tenant="bench") as clew:
        yield lambda name: _begin_agents(ClewSession(clew, name))


async def _begin_agents(session: Session) -> Turn:
    async def turn() -> None:
        await session.get_items(NEWEST)
        await session.add_items([{"role": "user", "content": ASKED}])
        await session.add_items([{"role": "assistant", "content": ANSWERED}])

    return turn


@asynccontextmanager
async def _adk_sqlite(where: str) -> AsyncIterator[Begin]:
    from google.adk.sessions.database_session_service import DatabaseSessionService

    async with DatabaseSessionService(f"sqlite+aiosqlite:///{where}") as service:
        yield lambda name: _begin_adk(service, name)


@asynccontextmanager
async def _adk_clew(where: str) -> AsyncIterator[Begin]:
    from clew_adapters.adk import ClewSessionService
    from clew_events.client import connect

    async with connect(where, tenant="bench") as clew:
        service = ClewSessionService(clew)
        yield lambda name: _begin_adk(service, name)


async def _begin_adk(service: BaseSessionService, name: str) -> Turn:
    from google.adk.events import Event, EventActions
    from google.adk.sessions.base_session_service import GetSessionConfig
    from google.genai.types import Content, Part

    newest = GetSessionConfig(num_recent_events=NEWEST)
    await service.create_session(app_name="bench", user_id="ada", session_id=name)

    async def turn() -> None:
        session = await service.get_session(app_name="bench", user_id="ada", session_id=name, config=newest)
        if session is None:
            raise LookupError(name)
        for role, text in (("user", ASKED), ("model", ANSWERED)):
            content = Content(role=role, parts=[Part(text=text)])
            actions = EventActions(state_delta={"said": text})
            await service.append_event(session, Event(author=role, content=content, actions=actions))

    return turn


STORES: Final[dict[str, tuple[str, Callable[[str], AbstractAsyncContextManager[Begin]]]]] = {
    "agents-sqlite": ("openai-agents", _agents_sqlite),
    "agents-clew": ("openai-agents", _agents_clew),
    "adk-sqlite": ("google-adk", _adk_sqlite),
    "adk-clew": ("google-adk", _adk_clew),
}
"""Each store with the package of its framework."""


async def main(store: str, where: str) -> None:
    """Open the store, and carry out orders until there are no more."""
    package, opened = STORES[store]
    turns: list[Turn] = []
    async with opened(where) as begin:

        async def make(_: int) -> None:
            turn = await begin(f"session-{len(turns)}")
            await turn()
            turns.append(turn)

        async def carry_out(order: dict[str, Any]) -> dict[str, Any]:
            if order["do"] == "append":
                return await repeat({**order, "workers": 1}, make)
            return await repeat(order, lambda number: turns[number % len(turns)]())

        await serve({"version": f"{package} {version(package)}"}, carry_out)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
