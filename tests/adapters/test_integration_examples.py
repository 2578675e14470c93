"""The programs of the guides to the frameworks: what a guide shows is what is in examples/, and that runs."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from support.nats_services import PATHS

pytestmark = pytest.mark.asyncio(loop_scope="module")

ROOT = Path(__file__).parents[2]
SHOWN = re.compile(r"<!-- examples/integrations/(\S+) -->\n```\w+\n(.*?)```", re.DOTALL)
PROGRAMS = {
    "adk": (
        "google.adk",
        ["clerk You asked 1 times.", "clerk You asked 2 times.", "4 events, {'asked': 2, 'user:language': 'en'}"],
    ),
    "langchain": (
        "langchain_core",
        [
            *("You said 1 things.", "You said 2 things."),
            *("human: Where is my parcel?", "ai: You said 1 things.", "human: And now?", "ai: You said 2 things."),
        ],
    ),
    "agents": ("agents", ["I was given 1 items.", "I was given 3 items.", "4 items"]),
    "agent_framework": (
        "agent_framework",
        [
            *("I was given 1 messages.", "I was given 3 messages."),
            *("user: Is it audited?", "assistant: I was given 1 messages."),
        ],
    ),
}
"""The program of each guide, the package that it needs, and what it prints."""


async def test_the_guides_show_the_programs_as_they_are():
    programs = {path.name: path.read_text("utf-8") for path in ROOT.glob("examples/integrations/*.py")}
    guides = "".join(path.read_text("utf-8") for path in ROOT.glob("docs/integrations/*.md"))
    assert dict(SHOWN.findall(guides)) == programs
    assert programs.keys() == {f"with_{name}.py" for name in PROGRAMS}


@pytest.mark.parametrize("name", PROGRAMS)
async def test_the_program_runs(url: str, name: str):
    package, printed = PROGRAMS[name]
    pytest.importorskip(package, reason=f"clew[{name}] is not installed")
    program = await asyncio.create_subprocess_exec(
        sys.executable, str(ROOT / f"examples/integrations/with_{name}.py"),
        env={**os.environ, "PYTHONPATH": PATHS, "NATS_URL": url}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await program.communicate()
    assert output.decode().splitlines() == printed
    assert program.returncode == 0
