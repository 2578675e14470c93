"""Connections to NATS outlive what the server reports. Where one is closed for good, the process ends and says so."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator

import httpx2
import pytest
from nats.aio.client import Client
from nats.aio.msg import Msg

from clew_events.client import connect
from clew_events.errors import Unavailable
from clew_events.nats_client import LastingClient
from clew_projections.nats.lean_client import LeanClient
from clew_services import compose
from clew_services.compose import Clew
from clew_services.compose.roles import serve_commands, serve_inbox, serve_queries
from clew_services.embedded.server import EmbeddedServer
from clew_services.nats_api.tolerant_client import TolerantClient
from clew_services.process.serve import serve
from clew_services.settings import Settings
from support.api import served as served_over_http
from support.nats_services import Serve, served
from support.waiting import eventually

FATAL = b"FOO\r\n"
"""Bytes after which the server reports an error and closes the connection."""
HARMLESS = b"SUB a..b 4711\r\n"
"""Bytes after which it reports an error and goes on."""


@pytest.fixture
async def reconnected() -> asyncio.Event:
    return asyncio.Event()


@pytest.fixture(params=[LastingClient, LeanClient, TolerantClient])
async def client(
    request: pytest.FixtureRequest, nats_server: EmbeddedServer, reported: list[str]
) -> AsyncIterator[LastingClient]:
    async def note(error: Exception) -> None:
        reported.append(str(error))

    made: LastingClient = request.param()
    await made.connect(nats_server.url, max_reconnect_attempts=-1, reconnect_time_wait=0.01, error_cb=note)
    yield made
    await made.close()
    assert not made.ended.is_set()


@pytest.fixture
def reported() -> list[str]:
    return []


async def echo(message: Msg) -> None:
    await message.respond(message.data)


async def echoed(nc: Client) -> bytes:
    """What comes back of a message, once one does."""

    async def tried() -> bytes:
        try:
            return (await nc.request("echo", b"hello", timeout=1)).data
        except Exception:  # noqa: BLE001 - whatever fails is tried again
            return b""

    return await eventually(tried)


async def test_an_error_after_which_the_server_goes_on_closes_nothing(
    client: LastingClient, reported: list[str]
) -> None:
    await client.subscribe("echo", cb=echo)
    await client._send_command(HARMLESS)
    await client.flush()
    await client.flush()
    assert reported == ["nats: invalid subject"]
    assert await echoed(client) == b"hello"
    assert (client.stats["reconnects"], client.is_connected) == (0, True)


async def test_after_an_error_at_which_the_server_hangs_up_the_connection_is_made_anew(
    client: LastingClient, reported: list[str]
) -> None:
    await client.subscribe("echo", cb=echo)
    for times in (1, 2):
        await client._send_command(FATAL)
        await client._flush_pending()

        async def again(times: int = times) -> bool:
            return client.stats["reconnects"] == times and client.is_connected

        await eventually(again)
        assert await echoed(client) == b"hello"
    assert "nats: unknown protocol operation" in reported


async def test_an_error_that_nobody_foresaw_while_connecting_again_is_survived(
    client: LastingClient, nats_server: EmbeddedServer, monkeypatch: pytest.MonkeyPatch, reported: list[str]
) -> None:
    left = 3
    connect_once = type(client)._process_connect_init

    async def fails(self: Client) -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            raise ValueError("unforeseen")
        await connect_once(self)

    monkeypatch.setattr(type(client), "_process_connect_init", fails)
    await client.subscribe("echo", cb=echo)
    os.kill(nats_server.pid, signal.SIGKILL)
    await nats_server.wait()
    await nats_server.start()
    assert await echoed(client) == b"hello"
    assert reported.count("unforeseen") == 3


@pytest.mark.parametrize("serve_one", [serve_commands, serve_queries, serve_inbox])
async def test_services_answer_again_after_any_error_of_the_server(
    clew: Clew, deployment: EmbeddedServer, serve_one: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[LastingClient] = []
    begin = TolerantClient.__init__
    monkeypatch.setattr(TolerantClient, "__init__", lambda self: (begin(self), opened.append(self))[0])
    async with (
        served(clew, tuple({serve_one, serve_commands, serve_queries})),
        connect(deployment.url, timeout=60) as client,
    ):
        for each in (clew.nc, *opened, client.nc):
            for bad in (HARMLESS, FATAL):
                await each._send_command(bad)
                await each._flush_pending()
        done = await client.create_thread()
        assert (await client.get_thread(done.thread.id)).n == 1


async def test_a_server_that_is_away_is_reported_once_for_each_reason(
    clew: Clew, deployment: EmbeddedServer, caplog: pytest.LogCaptureFixture
) -> None:
    os.kill(deployment.pid, signal.SIGKILL)
    await deployment.wait()

    async def tried_often() -> bool:
        return clew.nc._server_pool[0].reconnects >= 6

    await eventually(tried_often)
    told = [each.getMessage() for each in caplog.records if each.name == "clew.nats"]
    assert len(told) == len(set(told))
    assert 1 <= len(told) <= 3
    await deployment.start()
    await eventually(lambda: connected_again(caplog))


async def connected_again(caplog: pytest.LogCaptureFixture) -> bool:
    return "reconnected" in caplog.text


# Closed for good.


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> list[Clew]:
    """What :func:`serve` has composed."""
    found: list[Clew] = []
    begin = Clew.__init__

    def noted(self: Clew, *arguments: object, **others: object) -> None:
        begin(self, *arguments, **others)  # type: ignore[arg-type]
        found.append(self)

    monkeypatch.setattr(compose.Clew, "__init__", noted)
    return found


@pytest.mark.parametrize("role", ["commands", "query", "projector", "index", "api"])
async def test_a_process_whose_connection_is_closed_for_good_ends_with_an_error(
    deployment: EmbeddedServer, running: list[Clew], role: str, tmp_path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "clew.serve")
    settings = Settings(
        nats=deployment.url, http="127.0.0.1:0", data=str(tmp_path), api_keys="a-key-long-enough:default"
    )
    serving = asyncio.create_task(serve([role], settings))  # type: ignore[list-item]

    async def ready() -> bool:
        assert not serving.done() or serving.result()
        return "ready" in caplog.text

    await eventually(ready)
    await running[0].nc._close(Client.CLOSED)
    with pytest.raises(Unavailable) as ended:
        await serving
    assert ended.value.code == "nats_closed"


@pytest.mark.parametrize("serve_one", [serve_commands, serve_queries, serve_inbox])
async def test_a_connection_beside_that_is_closed_for_good_counts_too(
    clew: Clew, serve_one: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[LastingClient] = []
    begin = TolerantClient.__init__
    monkeypatch.setattr(TolerantClient, "__init__", lambda self: (begin(self), opened.append(self))[0])
    async with served(clew, (serve_one,)):
        pass
    assert not clew.nc.ended.is_set()
    async with served(clew, (serve_one,)):
        await opened[-1]._close(Client.CLOSED)
        assert clew.nc.ended.is_set()


async def test_healthz_says_when_the_connection_is_closed_for_good(clew: Clew) -> None:
    async with served_over_http(clew) as url, httpx2.AsyncClient(base_url=url, timeout=60) as http:
        assert (await http.get("/healthz")).status_code == 200
        await clew.nc._close(Client.CLOSED)
        answer = await http.get("/healthz")
        assert answer.status_code == 503
        assert answer.json()["ok"] is False
        assert "closed for good" in answer.json()["reasons"][0]


async def test_a_flush_has_the_server_take_what_was_posted_before_it(nats_server: EmbeddedServer) -> None:
    lean, writes = LeanClient(), list[bytes]()
    await lean.connect(nats_server.url)
    writer = lean._transport._io_writer
    write = writer.write
    writer.write = lambda data: (writes.append(data), write(data))
    lean.post("posted", b"")
    await lean.flush()
    await lean.close()
    assert [data.split()[0] for data in writes] == [b"PUB", b"PING"]
