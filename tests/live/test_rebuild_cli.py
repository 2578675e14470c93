"""``clew rebuild`` on a server with everything running, and the guide to it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from clew_services.cli import main
from support.up import ROOT, running_up

SHOWN = re.findall(r"```bash\n(.*?)```", (ROOT / "docs/operating/rebuilding.md").read_text(), re.DOTALL)
COMMANDS = re.findall(r"^clew (.*)$", "\n".join(SHOWN), re.MULTILINE)


def clew(*words: str, env: dict[str, str]) -> Result:
    return CliRunner().invoke(main, words, env=env)


@pytest.fixture
def env(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Everything running, with three threads."""
    with running_up(tmp_path / "data") as up:
        found = {"CLEW_NATS": up.nats_url}
        for n in range(3):
            assert clew("thread", "create", "--id", f"thread_{n}", env=found).exit_code == 0
        yield found


def test_the_guide_to_rebuilding_is_carried_out_line_by_line(env: dict[str, str]) -> None:
    assert len(COMMANDS) >= 10
    for line in COMMANDS:
        ran = clew(*("thread_0" if word == "thread_…" else word for word in shlex.split(line)), env=env)
        assert ran.exit_code == 0, (line, ran.stderr)
        assert ran.stdout.strip(), line


def test_a_rebuild_by_command_under_running_services_and_the_way_back(env: dict[str, str]) -> None:
    def asked(*words: str) -> dict[str, object]:
        ran = clew(*words, "--json", env=env)
        assert ran.exit_code == 0, ran.stderr
        answer = json.loads(ran.stdout)
        assert isinstance(answer, dict)
        return answer

    rebuilt = asked("rebuild", "threads")
    assert (rebuilt["generation"], rebuilt["live"], rebuilt["threads"]) == (2, True, 3)
    assert clew("thread", "update", "thread_0", "--set", "a=1", env=env).exit_code == 0
    generations = asked("rebuild", "list")["generations"]
    assert isinstance(generations, list)
    assert [(each["generation"], each["live"]) for each in generations] == [(1, False), (2, True)]
    assert asked("rebuild", "back") == {"live": 1, "fold": 1}
    assert '"a": "1"' in json.dumps(asked("thread", "get", "thread_0"))
    refused = clew("rebuild", "remove", "1", env=env)
    assert refused.exit_code == 1
    assert "generation 1 is live" in refused.stderr
    assert asked("rebuild", "remove", "2") == {"removed": 2}
