"""What would have been, asked of a server and of a pack, with code from the folder one is in."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from clew_projections.packs.layout import Scope
from clew_services.cli import main
from clew_services.compose import Clew
from clew_services.packs.exporter import Exporter
from clew_services.packs.pack_files import export
from support.writers import Writer

CODE = """
from clew_projections.fold import evolve
from clew_events.events import MetadataUpdated

print("imported")

def frozen(state, event):
    print("folding")
    return state if isinstance(event, MetadataUpdated) else evolve(state, event)

def cautious(state, commit):
    return "not by sales" if commit.actor == "sales" else None

def broken(state, event):
    raise RuntimeError(event.__class__.__name__)

nothing = 7
"""


@pytest.fixture
async def clew(clew: Clew) -> Clew:
    """Five threads of one tenant and one of another, two of which were changed by sales."""
    for number in range(5):
        await Writer(clew.handler, "acme").create(f"thread_{number}", metadata={"plan": "free"}, actor="shop")
    for number in range(2):
        await Writer(clew.handler, "acme").set(f"thread_{number}", "plan", "paid", actor="sales")
    await Writer(clew.handler, "other").create("thread_other")
    return clew


async def test_a_server_and_a_pack_give_the_same_answer(
    clew: Clew, deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await export(Exporter(clew.js, clew.ledger, clew.deployment), Scope(), tmp_path / "pack")
    (tmp_path / "trial_of_mine.py").write_text(CODE)
    (tmp_path / "does_not_parse.py").write_text("def")
    monkeypatch.chdir(tmp_path)

    async def cli(*arguments: str) -> Result:
        env = {"CLEW_NATS": deployment.url, "CLEW_TENANT": "acme"}
        return await asyncio.to_thread(CliRunner().invoke, main, ["what-if", *arguments], env=env)

    for asked in (
        ["--fold", "trial_of_mine:frozen"],
        ["--decide", "trial_of_mine:cautious"],
        ["--decide", "trial_of_mine:cautious", "--fold", "trial_of_mine:frozen", "--all", "--json"],
        ["thread_1", "--fold", "trial_of_mine:frozen", "--json"],
    ):
        server, pack = await cli(*asked), await cli(*asked, "--pack", "pack")
        assert (server.exit_code, server.stdout) == (0, pack.stdout), server.stderr
        assert "folding" not in server.stdout
    found = json.loads((await cli("--fold", "trial_of_mine:frozen", "--json")).stdout)
    assert (found["threads"], len(found["differ"])) == (5, 2)
    assert found["differ"][0]["fields"] == [{"field": "metadata.plan", "before": "paid", "after": "free"}]
    shown = (await cli("--decide", "trial_of_mine:cautious")).stdout
    assert "acme thread_0 differs from commit 2 on" in shown
    assert "commit 2 refused: not by sales (1 in all)" in shown
    assert "metadata.plan: 'paid' -> 'free'" in shown

    failing = await cli("--fold", "trial_of_mine:broken")
    assert failing.exit_code == 1
    assert "acme thread_0 commit 1: the fold raised RuntimeError: ThreadCreated [failed]" in failing.stdout
    assert "Traceback" not in failing.output
    for said, told in {
        "trial_of_mine": "module:function",
        "no_such_module_here:f": "cannot be imported",
        "does_not_parse:f": "SyntaxError",
        "trial_of_mine:absent": "no function absent",
        "trial_of_mine:nothing": "no function nothing",
    }.items():
        refused = await cli("--fold", said)
        assert (refused.exit_code, refused.stdout) == (1, ""), refused.output
        assert told in refused.stderr
    assert (await cli()).exit_code == 2
    assert (await cli("thread_nobody", "--fold", "trial_of_mine:frozen")).exit_code == 6
