"""One Clew for all tests of a module, whole but for HTTP: each test makes conversations of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from clew_events.client import Clew, connect
from support.deployments import deploy
from support.indexes import fed
from support.lending import Lender
from support.nats_services import all_of_clew


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def url(lender: Lender, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    """The address of a deployment where everything is served, lists included."""
    with lender.lent() as server:
        await deploy(server.url)
        async with all_of_clew(server.url) as composed:
            folder = tmp_path_factory.mktemp("index")
            composed.open_index(folder)
            async with fed(composed, folder):
                yield server.url


@pytest_asyncio.fixture(loop_scope="module")
async def clew(url: str) -> AsyncIterator[Clew]:
    """A client of it."""
    async with connect(url, actor="assistant") as client:
        yield client
