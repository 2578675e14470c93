"""A process that steps back does so within its session and, where it leads one, with it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from support.up import environment

TOLD = """
import os
from pathlib import Path
from clew_services.running.stepping_back import step_back
group = Path("/proc/self/autogroup")
before = os.nice(0)
step_back()
print(os.nice(0) - before, group.read_text().split()[-1] if group.exists() else "none")
"""


def told(*, leads: bool) -> list[str]:
    run = [sys.executable, "-c", TOLD]
    return subprocess.run(
        run, env=environment(), start_new_session=leads, capture_output=True, text=True, check=True
    ).stdout.split()


def test_it_is_nicer_by_ten_in_any_session() -> None:
    assert told(leads=False)[0] == "10"


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="this kernel shares no cores out among sessions")
def test_a_session_of_its_own_steps_back_as_a_whole_and_one_of_others_does_not() -> None:
    ours = Path("/proc/self/autogroup").read_text().split()[-1]
    assert told(leads=True) == ["10", "10"]
    assert told(leads=False) == ["10", ours]
    assert Path("/proc/self/autogroup").read_text().split()[-1] == ours
