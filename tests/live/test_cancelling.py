"""Who cancels what connects to NATS is heard, in whichever moment that is."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import pytest

from clew_events.client import connect
from clew_services.compose import Clew, connection
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
