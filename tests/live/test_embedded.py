"""The embedded server: what it promises about its process, its port and its folder."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from signal import SIGKILL

import pytest
from nats.aio.client import Client
from nats.js.api import StreamConfig

from clew_services.embedded.server import EmbeddedServer
from clew_services.host import CannotStart
from support.deployments import connected_client


async def test_a_client_finds_jetstream_and_the_payload_limit_that_commits_need(nc: Client) -> None:
    await nc.jetstream().add_stream(StreamConfig(name="S", subjects=["s"]))
    ack = await nc.jetstream().publish("s", b"x" * (7 * 1024 * 1024))
    assert ack.seq == 1


async def test_a_killed_server_comes_back_on_its_store_and_port(durable_nats_server: EmbeddedServer) -> None:
    server = durable_nats_server
    async with connected_client(server.url) as client:
        await client.jetstream().add_stream(StreamConfig(name="S", subjects=["s"]))
        await client.jetstream().publish("s", b"kept")
    before = server.port
    os.kill(server.pid, SIGKILL)
    assert await server.wait() == -SIGKILL
    await server.start()
    assert server.port == before
    async with connected_client(server.url) as client:
        assert (await client.jetstream().get_msg("S", 1)).data == b"kept"


async def test_a_stopped_server_is_gone(tmp_path: Path) -> None:
    async with EmbeddedServer(tmp_path) as server:
        pid, port = server.pid, server.port
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(OSError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_a_taken_port_is_named_together_with_the_option_that_changes_it(
    nats_server: EmbeddedServer, tmp_path: Path
) -> None:
    with pytest.raises(CannotStart) as refusal:
        await EmbeddedServer(tmp_path / "other", port=nats_server.port).start()
    assert refusal.value.code == "port_taken"
    assert f"127.0.0.1:{nats_server.port}" in refusal.value.message
    assert "CLEW_NATS" in refusal.value.message


async def test_a_folder_in_use_is_refused_and_its_owner_named(nats_server: EmbeddedServer) -> None:
    with pytest.raises(CannotStart) as refusal:
        await EmbeddedServer(nats_server.data).start()
    assert refusal.value.code == "data_in_use"
    assert f"pid {os.getpid()}" in refusal.value.message


async def test_a_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotStart) as refusal:
        await EmbeddedServer(tmp_path / "file" / "data").start()
    assert refusal.value.code == "data_not_writable"
    assert "CLEW_DATA" in refusal.value.message
