"""The guides to the frameworks show the programs that the tests run."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHOWN = re.compile(r"<!-- examples/integrations/(\S+) -->\n```\w+\n(.*?)```", re.DOTALL)


def test_each_guide_shows_its_program_as_it_is_and_a_test_runs_that():
    programs = {path.name: path.read_text("utf-8") for path in ROOT.glob("examples/integrations/*.py")}
    guides = "".join(path.read_text("utf-8") for path in ROOT.glob("docs/integrations/*.md"))
    assert dict(SHOWN.findall(guides)) == programs
    adapters = {path.stem for path in ROOT.glob("adapters/clew_adapters/*.py")} - {"__init__", "conversation"}
    assert programs.keys() == {f"with_{name}.py" for name in adapters}
    for name in adapters:
        assert f'run_program("with_{name}")' in (ROOT / f"tests/adapters/test_{name}.py").read_text("utf-8")


def test_the_table_of_integrations_has_each_guide():
    table = (ROOT / "docs/integrations/README.md").read_text("utf-8")
    guides = {path.name for path in ROOT.glob("docs/integrations/*.md")} - {"README.md"}
    assert guides == set(re.findall(r"\((\w[\w-]*\.md)\) \|$", table, re.MULTILINE))
