"""The guide's programs: what it shows is what is in examples/, and that runs."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from clew_events.subjects import Address
from clew_services.compose import Clew
from clew_services.embedded.server import EmbeddedServer
from support.deployments import deployed
from support.nats_services import PATHS, served

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
SHOWN = re.compile(r"<!-- examples/(\S+) -->\n```\w+\n(.*?)```", re.DOTALL)


@pytest.fixture
async def deployment(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    """A server with accounts as that of ``clew up``, where the programs have no password."""
    async with deployed(tmp_path / "deployment", password="secret1") as server:
        yield server


def test_the_guide_shows_the_programs_as_they_are():
    shown = dict(SHOWN.findall((ROOT / "docs" / "publish.md").read_text(encoding="utf-8")))
    programs = {path.name: path.read_text(encoding="utf-8") for path in EXAMPLES.glob("publish*")}
    assert shown == programs
    assert len(programs) == 6


async def run(program: str, url: str) -> list[str]:
    """A program's output, run as a reader of the guide would run it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", str(EXAMPLES / program),
        env={**os.environ, "PYTHONPATH": PATHS, "NATS_URL": url}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode().splitlines()


async def test_the_program_with_the_client_runs(clew: Clew, deployment):
    async with served(clew):
        assert await run("publish.py", deployment.open_url) == [
            "somebody was faster: look again, then decide again",
            "user: Where is my parcel?",
            "user: It was due yesterday.",
            "1. CreateThread by shop",
            "2. AddMessage by shop",
            "3. UpdateThread by shop",
        ]


async def test_the_program_without_async_runs(clew: Clew, deployment):
    async with served(clew):
        assert await run("publish_sync.py", deployment.open_url) == [
            "{'order': '1042', 'packed': 'yes', 'paid': 'yes', 'sent': 'yes'}",
            "[1, 2, 3, 4]",
        ]


async def test_the_program_without_the_client_runs(clew: Clew, deployment):
    async with served(clew):
        (metadata,) = await run("publish_plainly.py", deployment.open_url)
    assert metadata == "{'order': '1042', 'priority': 'high'}"


@pytest.mark.parametrize("times", [1, 2])
async def test_the_program_for_later_does_its_work_once_however_often_it_runs(clew: Clew, deployment, times: int):
    async with served(clew):
        for _ in range(times):
            assert await run("publish_for_later.py", deployment.open_url) == [
                "order 1042: version 2",
                "order 1043: version 2",
            ]
    for order in ("1042", "1043"):
        address = Address("default", f"thread_order-{order}")
        commands = [each.commit.command async for each in clew.histories.after(address, 0)]
        assert commands == ["CreateThread", "AddMessage"]
