"""The auditor's guide, carried out line by line after somebody removed a key; and what it finds after a forgery."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from clew_events.client import connect
from clew_events.subjects import Address
from clew_services.cli import main
from clew_services.compose import connect as connected
from support.forging import bodies, rechained, rewrite
from support.up import ROOT, Up, environment, running_up

GUIDE = (ROOT / "docs/auditing.md").read_text()
COMMANDS = [
    line
    for block in re.findall(r"^```bash\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]
(PROGRAM,) = re.findall(r"^```python\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
THREAD = "thread_case"
NOWHERE = "nats://127.0.0.1:1"


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    with running_up(tmp_path / "data", "--checkpoints", "0") as running:
        yield running


@pytest.fixture
def case(up: Up, tmp_path: Path) -> dict[str, str]:
    """An environment in which ``clew`` is a command, and somebody has removed a thread's key."""
    shim = tmp_path / "bin" / "clew"
    shim.parent.mkdir()
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -W error -m clew_services.cli "$@"\n')
    shim.chmod(0o755)
    env = {"CLEW_DATA": str(up.data)}

    async def removed() -> None:
        async with connect(up.nats_url, actor="shop") as shop:
            await shop.create_thread(thread_id=THREAD, metadata={"plan": "gold"})
        async with connect(up.nats_url, actor="unknown-hand") as hand:
            await hand.patch_metadata(THREAD, unset=["plan"])

    asyncio.run(removed())
    return environment(**env, PATH=f"{shim.parent}{os.pathsep}{os.environ['PATH']}")


def run(line: str, env: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-c", line], env=env, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.timeout(240)
def test_the_guide_leads_from_the_suspicion_to_a_proof_that_needs_no_server(
    up: Up, case: dict[str, str], tmp_path: Path
) -> None:
    told: dict[str, str] = {}
    for line in COMMANDS:
        offline = "--pack" in line or "checkpoint check" in line
        env = {**case, "CLEW_NATS": NOWHERE, "CLEW_DATA": "./nothing"} if offline else case
        ran = run(line.replace("thread_…", THREAD), env, tmp_path)
        assert ran.returncode == 0, f"{line}: {ran.stderr}"
        assert ran.stdout.strip() or ">" in line, line
        told[line] = ran.stdout
    assert len(told) == 21

    assert "unknown-hand" in told["clew blame thread_…"]
    assert "gold" in told["clew state thread_… --as-of 1"]
    for asked in ("blame thread_…", "history thread_… -p", "diff thread_… 1 2", "state thread_… --as-of 1"):
        assert told[f"clew {asked}"] == told[f"clew {asked} --pack case.pack"], asked
    assert "is signed with" in told["clew verify --all --key clew.pub"]
    unkeyed = CliRunner().invoke(main, ["checkpoint", "check", str(tmp_path / "proof.json")])
    assert (unkeyed.exit_code, "was not verified: give --key" in unkeyed.stdout) == (0, True), unkeyed.stderr
    assert "was not verified" not in told["clew checkpoint check proof.json --key clew.pub"]
    another = CliRunner().invoke(main, ["checkpoint", "check", str(tmp_path / "kept.json")])
    assert (another.exit_code, "not a proof" in another.stderr) == (1, True)
    (tmp_path / "feed.py").write_text(PROGRAM.replace("nats://127.0.0.1:4222", up.open_url))
    found = run(f'"{sys.executable}" -W error feed.py', case, tmp_path)
    assert found.returncode == 0, found.stderr
    assert found.stdout.split()[:2] == [THREAD, "2"]

    # Somebody with all rights puts another history there, with a chain that is whole.
    async def forged() -> None:
        async with connected(up.nats_url, name="forger") as forger:
            address = Address("default", THREAD)
            history = await bodies(forger, address)
            await rewrite(forger, address, rechained(history, b"unknown-hand", b"somebody-new"))

    asyncio.run(forged())
    assert run(f"clew verify {THREAD}", case, tmp_path).returncode == 5, "the deployment's own checkpoint shows it"
    against = run("clew verify --against kept.json --key clew.pub --json", case, tmp_path)
    assert against.returncode == 5
    assert THREAD in {finding["thread"] for finding in json.loads(against.stdout)["findings"]}
    assert run("clew verify --pack case.pack --key clew.pub", case, tmp_path).returncode == 0, (
        "what was taken home stays"
    )
    assert run(f"clew checkpoint proof {THREAD} --out forged.json", case, tmp_path).returncode == 5
