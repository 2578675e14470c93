"""Clew from Node, with the ordinary NATS client of the npm registry."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from clew_events.subjects import Address
from clew_services.compose import Clew
from clew_services.embedded.server import EmbeddedServer
from support.deployments import deployed
from support.nats_services import served

ROOT = Path(__file__).parents[2]
NODE, NPM = shutil.which("node"), shutil.which("npm")
OFFLINE = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH", "ERR_SOCKET_TIMEOUT")

pytestmark = pytest.mark.skipif(not (NODE and NPM), reason="node or npm is not installed here")


@pytest.fixture
async def deployment(tmp_path: Path) -> AsyncIterator[EmbeddedServer]:
    """A server with accounts as that of ``clew up``, where the programs have no password."""
    async with deployed(tmp_path / "deployment", password="secret1") as server:
        yield server


@pytest.fixture(scope="module")
def node_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the locked packages, the guide's program, and one that asks over and over."""
    folder = tmp_path_factory.mktemp("node")
    for name in ("package.json", "package-lock.json", "flood.mjs"):
        shutil.copy(ROOT / "tests" / "node" / name, folder)
    shutil.copy(ROOT / "examples" / "publish.mjs", folder)
    installed = subprocess.run(
        [str(NPM), "ci", "--no-audit", "--no-fund", "--ignore-scripts"],
        cwd=folder, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    if installed.returncode and any(word in installed.stderr for word in OFFLINE):
        pytest.skip(f"npm cannot reach its registry: {installed.stderr.strip().splitlines()[0]}")
    assert installed.returncode == 0, installed.stderr
    return folder


async def run(folder: Path, program: str, url: str) -> list[str]:
    process = await asyncio.create_subprocess_exec(
        str(NODE), program, cwd=folder, env={**os.environ, "NATS_URL": url}, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0
    return output.decode().splitlines()


def test_the_lock_file_names_no_host():
    lock = json.loads((ROOT / "tests" / "node" / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert packages
    for package in packages.values():
        assert "resolved" not in package
        assert package["integrity"].startswith("sha512-")


async def test_the_guides_program_runs(node_folder: Path, clew: Clew, deployment):
    async with served(clew):
        assert await run(node_folder, "publish.mjs", deployment.open_url) == [
            "version_conflict reload",
            "ok",
            "user: Where is my parcel?",
            "assistant: It is on its way.",
        ]


async def test_fifty_changes_at_once_to_one_thread_are_fifty_commits(node_folder: Path, clew: Clew, deployment):
    async with served(clew):
        (summary,) = await run(node_folder, "flood.mjs", deployment.open_url)
    assert json.loads(summary) == {"ok": 50, "versions": list(range(2, 52))}
    address = Address("default", "thread_flood")
    commits = [each.commit async for each in clew.histories.after(address, 0)]
    assert [commit.n for commit in commits] == list(range(1, 52))
    assert {commit.actor for commit in commits} == {"node"}
