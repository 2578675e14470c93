"""Who cancels what connects to NATS, or serves its inbox, is heard, in whichever moment that is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from clew_events.client import connect
from clew_events.errors import Unavailable
from clew_services.compose import Clew, connection
from clew_services.compose.roles import serve_inbox
from clew_services.embedded.server import EmbeddedServer
from clew_services.inbox import inbox_service
from support.waiting import PATIENCE

TIMES = 3


@pytest.mark.parametrize("connected", [connect, lambda url: connection(url, name="cancelled")])
async def test_a_connection_can_be_cancelled_in_every_moment_in_which_it_is_made(
    nats_server: EmbeddedServer, connected: Callable[[str], AbstractAsyncContextManager[object]]
) -> None:
    async def hold(made: asyncio.Event) -> None:
        async with connected(nats_server.url):
            made.set()
            await asyncio.Event().wait()

    async def cancelled_after(turns: int) -> bool:
        made = asyncio.Event()
        holding = asyncio.create_task(hold(made))
        for _ in range(turns):
            await asyncio.sleep(0)
        whole = made.is_set()
        holding.cancel()
        await asyncio.wait({holding}, timeout=30)
        assert holding.cancelled()
        return whole

    for _ in range(TIMES):
        turns = 0
        while not await cancelled_after(turns):
            turns += 1


async def test_who_is_cancelled_as_the_server_answers_a_flush_is_cancelled(clew: Clew) -> None:
    async def flush() -> None:
        await clew.nc.flush()
        await asyncio.Event().wait()

    for _ in range(2):
        flushing = asyncio.create_task(flush())
        while not clew.nc._pongs:
            await asyncio.sleep(0)
        clew.nc._pongs[0].add_done_callback(lambda _, flushing=flushing: flushing.cancel())
        await asyncio.wait({flushing}, timeout=10)
        assert flushing.cancelled()


@pytest.mark.parametrize("turns", range(4))
async def test_an_inbox_that_is_cancelled_just_as_its_term_ends_does_not_begin_another(
    clew: Clew, monkeypatch: pytest.MonkeyPatch, turns: int
) -> None:
    ended = asyncio.Event()

    async def lead_and_fail(*_: object, **__: object) -> None:
        await asyncio.sleep(0)
        ended.set()
        raise Unavailable("the connection to NATS was lost")

    monkeypatch.setattr(inbox_service, "lead", lead_and_fail)
    serving = asyncio.create_task(serve_inbox(clew, asyncio.Event()))
    await ended.wait()
    for _ in range(turns):
        await asyncio.sleep(0)
    serving.cancel()
    await asyncio.wait({serving}, timeout=PATIENCE)
    assert serving.cancelled()
