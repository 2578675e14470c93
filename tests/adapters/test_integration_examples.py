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
}
"""The program of each guide, the package that it needs, and what it prints."""


async def test_the_guides_show_the_programs_as_they_are():
    programs = {path.name: path.read_text("utf-8") for path in ROOT.glob("examples/integrations/*.py")}
    guides = "".join(path.read_text("utf-8") for path in ROOT.glob("docs/integrations/*.md"))
    assert dict(SHOWN.findall(guides)) == programs
    assert programs.keys() == {f"{name}.py" for name in PROGRAMS}


@pytest.mark.parametrize("name", PROGRAMS)
async def test_the_program_runs(url: str, name: str):
    package, printed = PROGRAMS[name]
    pytest.importorskip(package, reason=f"clew[{name}] is not installed")
    program = await asyncio.create_subprocess_exec(
        sys.executable, str(ROOT / f"examples/integrations/{name}.py"),
        env={**os.environ, "PYTHONPATH": PATHS, "NATS_URL": url}, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, _ = await program.communicate()
    assert output.decode().splitlines() == printed
    assert program.returncode == 0
