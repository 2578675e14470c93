"""Fixtures for tests against the real thing. Each test has its own server, store and port."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from nats.aio.client import Client

from clew_services.embedded.server import EmbeddedServer
from support.deployments import FAST, connected_client, deployed
from support.ports import free_port

if TYPE_CHECKING:
    from clew_services.compose import Clew


@pytest.fixture
async def nats_server(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    """An empty NATS server that syncs now and then, for tests that are not about power cuts."""
    async with EmbeddedServer(tmp_path / "data", port=free_port(), sync=FAST) as server:
        yield server


@pytest.fixture
async def durable_nats_server(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    """An empty NATS server that syncs before every acknowledgement, as in production."""
    async with EmbeddedServer(tmp_path / "durable", port=free_port(), sync="always") as server:
        yield server


@pytest.fixture
async def nc(nats_server: EmbeddedServer) -> AsyncIterator[Client]:
    """A client of the empty server."""
    async with connected_client(nats_server.url) as client:
        yield client


@pytest.fixture
async def deployment(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    """A server with Clew's streams in two shards."""
    async with deployed(tmp_path / "deployment") as server:
        yield server


@pytest.fixture
async def durable_deployment(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    """The same, syncing before every acknowledgement."""
    async with deployed(tmp_path / "durable-deployment", sync="always") as server:
        yield server


@pytest.fixture
async def clew(deployment: EmbeddedServer) -> AsyncIterator[Clew]:
    """Everything that is composed on a connection to the deployment."""
    from clew_services.compose import connected

    async with connected(deployment.url, name="test") as composed:
        yield composed
