"""A process that steps back does so within its session and, where it leads one, with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from clew_services.host.resources import STEP_BACK
from support.up import environment

TOLD = """
import os
from pathlib import Path
from clew_services.host.resources import step_back
group = Path("/proc/self/autogroup")
step_back()
print(os.nice(0), *(group.read_text().split()[-1:] if group.exists() else []))
"""
GROUP = Path("/proc/self/autogroup")
SHARED_OUT = GROUP.exists() and bool(GROUP.read_text().split())


def told(*, leads: bool) -> list[str]:
    run = [sys.executable, "-c", TOLD]
    return subprocess.run(
        run, env=environment(), start_new_session=leads, capture_output=True, text=True, check=True
    ).stdout.split()


def nicer() -> int:
    return min(os.nice(0) + STEP_BACK, 19)


def test_it_is_nicer_by_ten_in_any_session() -> None:
    assert told(leads=False)[0] == str(nicer())


@pytest.mark.skipif(not SHARED_OUT, reason="this kernel shares no cores out among sessions")
def test_a_session_of_its_own_steps_back_as_a_whole_and_one_of_others_does_not() -> None:
    ours = GROUP.read_text().split()[-1]
    assert told(leads=True) == [str(nicer()), str(STEP_BACK)]
    assert told(leads=False) == [str(nicer()), ours]
    assert GROUP.read_text().split()[-1] == ours
