"""Who cancels what connects to NATS is heard, in whichever moment that is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from clew_events.client import connect
from clew_services.compose import connection
from clew_services.embedded.server import EmbeddedServer

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
