"""The auditor's guide, carried out line by line after somebody removed a key; and what it finds after a forgery."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from clew_events.client import connect
from clew_events.subjects import Address
from clew_services.cli import main
from clew_services.compose import connect as connected
from support.cli import Shell, commands_in, programs_in
from support.forging import bodies, rechained, rewrite
from support.up import Up, running_up

COMMANDS = commands_in("docs/auditing.md")
(PROGRAM,) = programs_in("docs/auditing.md")
THREAD = "thread_case"
NOWHERE = "nats://127.0.0.1:1"


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    with running_up(tmp_path / "data", "--checkpoints", "0") as running:
        yield running


@pytest.fixture
def shell(up: Up, tmp_path: Path) -> Shell:
    """Somebody has removed a thread's key."""

    async def removed() -> None:
        async with connect(up.nats_url, actor="shop") as shop:
            await shop.create_thread(thread_id=THREAD, metadata={"plan": "gold"})
        async with connect(up.nats_url, actor="unknown-hand") as hand:
            await hand.patch_metadata(THREAD, unset=["plan"])

    asyncio.run(removed())
    return Shell(up, tmp_path, **{"thread_…": THREAD})


def test_the_guide_leads_from_the_suspicion_to_a_proof_that_needs_no_server(
    up: Up, shell: Shell, tmp_path: Path
) -> None:
    told: dict[str, str] = {}
    for line in COMMANDS:
        offline = "--pack" in line or "checkpoint check" in line
        env = {"CLEW_NATS": NOWHERE, "CLEW_DATA": "./nothing"} if offline else {}
        told[line] = shell.done(line, **env)
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
    found = shell(f'"{sys.executable}" -W error feed.py')
    assert found.returncode == 0, found.stderr
    assert found.stdout.split()[:2] == [THREAD, "2"]

    # Somebody with all rights puts another history there, with a chain that is whole.
    async def forged() -> None:
        async with connected(up.nats_url, name="forger") as forger:
            address = Address("default", THREAD)
            history = await bodies(forger, address)
            await rewrite(forger, address, rechained(history, b"unknown-hand", b"somebody-new"))

    asyncio.run(forged())
    assert shell(f"clew verify {THREAD}").returncode == 5, "the deployment's own checkpoint shows it"
    against = shell("clew verify --against kept.json --key clew.pub --json")
    assert against.returncode == 5
    assert THREAD in {finding["thread"] for finding in json.loads(against.stdout)["findings"]}
    assert shell("clew verify --pack case.pack --key clew.pub").returncode == 0, "what was taken home stays"
    assert shell(f"clew checkpoint proof {THREAD} --out forged.json").returncode == 5
