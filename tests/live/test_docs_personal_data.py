"""The guide to personal data, carried out from top to bottom for a person with threads in three states."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.up import ROOT, Up, clew, environment, running_up

GUIDE = (ROOT / "docs/personal-data.md").read_text()
COMMANDS = [
    line
    for block in re.findall(r"^```bash\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
    for line in block.splitlines()
]
(PROGRAM,) = re.findall(r"^```python\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)
THEIRS = ("-m", "customer=c-81")


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with running_up(tmp_path_factory.mktemp("personal") / "data") as running:
        yield running


@pytest.fixture(scope="module")
def at_home(up: Up, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which ``clew`` is a command, and a customer has an open and a deleted thread."""
    folder = tmp_path_factory.mktemp("bin")
    shim = folder / "clew"
    shim.write_text(f'#!/bin/sh\nexec "{sys.executable}" -W error -m clew_services.cli "$@"\n')
    shim.chmod(0o755)
    return environment(CLEW_DATA=str(up.data), PATH=f"{folder}{os.pathsep}{os.environ['PATH']}")


def run(line: str, env: dict[str, str], cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["sh", "-c", line], env=env, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.timeout(300)
def test_the_guide_runs_from_top_to_bottom(up: Up, at_home: dict[str, str], tmp_path: Path) -> None:
    env = {"CLEW_DATA": str(up.data)}
    for thread, *options in (
        ("thread_open", *THEIRS),
        ("thread_deleted", *THEIRS),
        ("thread_mistaken", "-m", "customer=c-83"),
        ("thread_idle",),
        ("thread_other", "-m", "customer=c-82", "--message", "Ada Lovelace asked whether you saw her parcel."),
    ):
        made = clew("thread", "create", "--id", thread, *options, "--json", env=env)
        assert made.returncode == 0, made.stderr
    message = json.loads(clew("thread", "messages", "thread_other", "--json", env=env).stdout)["messages"]["first_id"]
    assert clew("thread", "delete", "thread_mistaken", env=env).returncode == 0
    deleted = json.loads(clew("thread", "delete", "thread_deleted", "--json", env=env).stdout)
    indexed = clew("thread", "list", "--at-least", "{shard}-{seq}".format_map(deleted["position"]), env=env)
    assert indexed.returncode == 0, indexed.stderr

    (tmp_path / "find.py").write_text(PROGRAM.replace("nats://127.0.0.1:4222", up.open_url))
    ran = run(f"{sys.executable} -W error find.py", at_home, tmp_path)
    assert (ran.stdout.split(), ran.stderr) == (["thread_deleted", "thread_open"], "")

    erasure = ""
    for line in COMMANDS:
        ran = run(line.replace("MESSAGE", message).replace("ERASURE", erasure), at_home, tmp_path)
        assert ran.returncode == 0, f"{line}: {ran.stderr}"
        assert ran.stdout.strip() or ">" in line, line
        if line == "clew erasures list":
            for what in ("thread_open", "thread_deleted", "thread_other", message):
                assert what in ran.stdout
            (erasure,) = re.findall(r"erasure_\w{24}(?= +thread_open)", ran.stdout)
    assert json.loads((tmp_path / "certificate.txt").read_text().partition("\n")[0])["thread"] == "thread_open"
    for thread in ("thread_open", "thread_deleted"):
        assert clew("thread", "get", thread, env=env).returncode == 6
    for thread in ("thread_other", "thread_mistaken"):
        assert clew("thread", "get", thread, env=env).returncode == 0
