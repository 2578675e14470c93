"""Fixtures for tests against the real thing. Each test has a server that is empty, and nobody else's meanwhile."""

from __future__ import annotations

import gc
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from nats.aio.client import Client

from clew_services.embedded.server import EmbeddedServer
from support.deployments import FAST, connected_client, deploy, deployed
from support.lending import Lender
from support.ports import free_port
from support.schedule import (
    pytest_addoption,
    pytest_collection_modifyitems,
    pytest_runtest_logreport,
    pytest_terminal_summary,
)
from support.small_disk import SmallDisk, mounted

if TYPE_CHECKING:
    from clew_services.compose import Clew
    from support.cluster import Cluster

__all__ = [
    "pytest_addoption",
    "pytest_collection_modifyitems",
    "pytest_runtest_logreport",
    "pytest_terminal_summary",
]


# All that is collected lives until the end: looking through it again and again takes a third of the time.
gc.disable()


def pytest_collection_finish() -> None:
    gc.freeze()
    gc.enable()


# A shell has its background jobs ignore Ctrl-C, and programs under test would inherit that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def lender(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lender]:
    """Servers that sync now and then, which the tests of this process have one after the other."""
    made = Lender(tmp_path_factory.mktemp("servers"), sync=FAST)
    yield made
    made.close()


@pytest.fixture
def nats_server(lender: Lender) -> Iterator[EmbeddedServer]:
    """An empty NATS server that syncs now and then, for tests that are not about power cuts."""
    with lender.lent() as server:
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
async def deployment(lender: Lender) -> AsyncIterator[EmbeddedServer]:
    """A server with Clew's streams in two shards."""
    with lender.lent() as server:
        await deploy(server.url)
        yield server


@pytest.fixture
async def durable_deployment(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    """The same, syncing before every acknowledgement."""
    async with deployed(tmp_path / "durable-deployment", sync="always") as server:
        yield server


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    """A disk of 64 MB."""
    with mounted(tmp_path / "disk", 64) as small:
        yield small


@pytest.fixture
async def disk_deployment(disk: SmallDisk) -> AsyncIterator[EmbeddedServer]:
    """A server with Clew's streams in one shard, on that disk."""
    async with deployed(disk.path / "data", shards=1, sync="always") as server:
        yield server


@pytest.fixture
async def clew(deployment: EmbeddedServer) -> AsyncIterator[Clew]:
    """Everything that is composed on a connection to the deployment."""
    from clew_services.compose import connect

    async with connect(deployment.url, name="test") as composed:
        yield composed


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Three servers with Clew's streams in two shards, which the tests of a module share."""
    from support.cluster import deployed_cluster

    with deployed_cluster(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
async def clews(cluster: Cluster) -> AsyncIterator[list[Clew]]:
    """One connection through each server, with everything composed on it: as good as three processes.

    Each is told of one server alone, and finds the others by itself.
    """
    from clew_services.compose import connect
    from support.cluster import NUMBERS

    cluster.start(*(number for number in NUMBERS if not cluster.nodes[number].runs))  # if the test before failed
    await cluster.healthy()
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(connect(cluster.url(number), name=f"through {number}"))
            for number in NUMBERS
        ]


@pytest.fixture
async def auditor(cluster: Cluster) -> AsyncIterator[Clew]:
    """The deployment as the operator sees it, who may make consumers to read the log with."""
    from clew_services.compose import connect

    async with connect(cluster.url(user="operator"), name="auditor") as composed:
        yield composed
