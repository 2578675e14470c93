"""The guide's programs: what it shows is what is in examples/, and that runs."""

from __future__ import annotations

import asyncio
import os
import re
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import pytest

from clew_events.client import connect
from clew_events.requests import NewMessage
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
    shown = dict(SHOWN.findall((ROOT / "docs" / "recipes.md").read_text(encoding="utf-8")))
    assert shown == {f"recipes/{path.name}": path.read_text("utf-8") for path in EXAMPLES.glob("recipes/*.py")}


async def start(program: str, url: str, *arguments: str) -> asyncio.subprocess.Process:
    """A program, run as a reader of the guide would run it."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", str(EXAMPLES / program), *arguments,
        env={**os.environ, "PYTHONPATH": PATHS, "NATS_URL": url}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def run(program: str, url: str, *arguments: str, code: int = 0) -> list[str]:
    """A program's output, once it has ended with the exit code."""
    process = await start(program, url, *arguments)
    output, _ = await process.communicate()
    assert process.returncode == code
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


async def test_the_recipes_do_what_they_say(clew: Clew, deployment, tmp_path: Path):
    url = deployment.open_url
    async with served(clew), connect(url, actor="ada") as client:
        thread = (await client.create_thread(messages=["Where is it?", "Still waiting."])).thread.id
        follower = await start("recipes/follow_thread.py", url, thread)
        assert follower.stdout is not None
        assert [await follower.stdout.readline() for _ in range(2)] == [
            b"user: Where is it?\n",
            b"user: Still waiting.\n",
        ]

        # Twice is once, whether it goes on from its cursor or has lost it.
        for cursor in ("one", "one", "other"):
            assert await run("recipes/enrich.py", url, str(tmp_path / cursor)) == []
        assert (await client.get_thread(thread)).n == 3
        assert [await follower.stdout.readline() for _ in range(2)] == [
            b"assistant: 3 words\n",
            b"assistant: 2 words\n",
        ]

        # A failure in the middle of a commit undoes what was done for it.
        file = tmp_path / "counts.db"
        assert await run("recipes/consume_once.py", url, str(file)) == ["{'assistant': 2, 'user': 2}"]
        await client.add_message(thread, NewMessage(role="assistant", content="It is here."))
        with closing(sqlite3.connect(file)) as db:
            db.execute("CREATE TRIGGER full BEFORE INSERT ON cursor BEGIN SELECT raise(ABORT, 'full'); END")
            assert await run("recipes/consume_once.py", url, str(file), code=1) == []
            assert db.execute("SELECT count(*) FROM messages").fetchone() == (4,)
            db.execute("DROP TRIGGER full")
        assert await run("recipes/consume_once.py", url, str(file)) == ["{'assistant': 3, 'user': 2}"]

        await client.delete_thread(thread)
        output, _ = await follower.communicate()
        assert output.decode().splitlines() == ["assistant: It is here.", "deleted by ada"]

        assert await run("recipes/unknown_events.py", url) == ["{'open': 0, 'deleted': 1}"]
        pinned = (await client.create_thread()).thread.id
        await client.patch_metadata(pinned, set={"pinned": "yes"})
        assert await run("recipes/unknown_events.py", url) == [
            f"stopped: commit 2 of {pinned} has a MetadataUpdated: update this program",
            "{'open': 1, 'deleted': 1}",
        ]
