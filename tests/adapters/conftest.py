"""One Clew for all tests of a module, whole but for HTTP: each test makes conversations of its own."""

from __future__ import annotations

import asyncio
import runpy
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

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


@pytest.fixture
def run_program(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[[str], Awaitable[list[str]]]:
    """Run the program of a guide, in a thread: a process of its own would import the framework once more."""

    async def run(name: str) -> list[str]:
        monkeypatch.setenv("NATS_URL", url)
        program = Path(__file__).parents[2] / f"examples/integrations/{name}.py"
        await asyncio.to_thread(runpy.run_path, str(program), run_name="__main__")
        return capsys.readouterr().out.splitlines()

    return run
