"""The TypeScript client: its own tests, the guide's program, and its types, which are those of the contract."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from clew_services.compose import Clew
from clew_services.embedded.server import EmbeddedServer
from support.nats_services import served

ROOT = Path(__file__).parents[2]
CLIENT = ROOT / "clients" / "typescript"
NODE, NPM = shutil.which("node"), shutil.which("npm")
OFFLINE = ("ENOTFOUND", "EAI_AGAIN", "ECONNREFUSED", "ECONNRESET", "ETIMEDOUT", "ENETUNREACH", "ERR_SOCKET_TIMEOUT")
MADE = shutil.ignore_patterns("node_modules", "dist")

pytestmark = pytest.mark.skipif(not (NODE and NPM), reason="node or npm is not installed here")


def npm(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(NPM), *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=200)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package, with what its lock file names, built."""
    folder = tmp_path_factory.mktemp("typescript") / "client"
    shutil.copytree(CLIENT, folder, ignore=MADE)
    installed = npm(folder, "ci", "--no-audit", "--no-fund", "--ignore-scripts")
    if installed.returncode and any(word in installed.stderr for word in OFFLINE):
        pytest.skip(f"npm cannot reach its registry: {installed.stderr.strip().splitlines()[0]}")
    assert installed.returncode == 0, installed.stderr
    made = npm(folder, "run", "--silent", "build")
    assert made.returncode == 0, made.stdout + made.stderr
    return folder


async def run(folder: Path, *program: str, url: str) -> str:
    process = await asyncio.create_subprocess_exec(
        str(NODE), *program, cwd=folder, env={**os.environ, "NATS_URL": url}, stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode()


def test_the_lock_file_names_no_host():
    lock = json.loads((CLIENT / "package-lock.json").read_text(encoding="utf-8"))
    packages = {name: package for name, package in lock["packages"].items() if name}
    assert packages
    for package in packages.values():
        assert "resolved" not in package
        assert package["integrity"].startswith("sha512-")


async def test_its_tests_pass_against_a_real_clew(built: Path, clew: Clew, deployment: EmbeddedServer):
    async with served(clew):
        said = await run(built, "--test", "--test-reporter=tap", "dist/test/", url=deployment.url)
    assert "\n# fail 0\n" in said
    assert "\n# skipped 0\n" in said


async def test_the_guides_program_runs(built: Path, clew: Clew, deployment: EmbeddedServer):
    shutil.copy(ROOT / "examples" / "publish.mjs", built)
    async with served(clew):
        said = await run(built, "publish.mjs", url=deployment.url)
    assert said.splitlines() == [
        "version_conflict: somebody was faster: look again, then decide again",
        "ok",
        "user: Where is my parcel?",
        "assistant: It is on its way.",
    ]


async def test_its_types_are_those_of_the_contract(built: Path, tmp_path: Path):
    contract, written = ROOT / "docs" / "contract" / "asyncapi.json", tmp_path / "contract.ts"
    made = npm(built, "run", "--silent", "contract", "--", str(contract), str(written))
    assert made.returncode == 0, made.stderr
    assert written.read_text() == (CLIENT / "src" / "contract.ts").read_text(), (
        "the contract changed: run 'npm run contract' in clients/typescript"
    )
