"""The order of test files, slow ones first, and a word at the end on what took longest.

A run on several processes ends when the last of them does, so a slow file has to begin early. How long each takes is
recorded in ``tests/seconds.txt``, and a file that is not there counts as quick. ``--record-seconds`` writes anew what
it says of the files that ran.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "tests" / "seconds.txt"
SLOW = 4.0
"""Seconds from which on a file is recorded."""
AS_IF = {"tests/architecture/test_adding.py": 15.0}
"""Seconds to count for a file that begins later: this one is quick with the cache of the mypy that runs beside."""
NAMED = 15
"""How many of the slowest files are named."""

_taken = Counter[str]()


def recorded() -> dict[str, float]:
    """Seconds by file, such as ``tests/live/test_soak.py``."""
    lines = RECORD.read_text().splitlines() if RECORD.exists() else []
    return {file: float(seconds) for file, seconds in (line.split() for line in lines)}


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--record-seconds", action="store_true", help="write tests/seconds.txt from this run")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    seconds = recorded()
    # Stable, so that every process comes to the same order, and a file's own order stays.
    seconds |= {file: counted for file, counted in AS_IF.items() if file in seconds}
    items.sort(key=lambda item: -seconds.get(_file(item.nodeid), 0.0))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    _taken[_file(report.nodeid)] += report.duration


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    slow = {file: seconds for file, seconds in _taken.most_common() if seconds >= SLOW}
    if not slow:
        return
    known = recorded()
    terminalreporter.section("slowest files")
    for file, seconds in list(slow.items())[:NAMED]:
        terminalreporter.write_line(f"{seconds:6.1f}s {file}")
    if config.getoption("--record-seconds"):
        others = {file: seconds for file, seconds in known.items() if file not in _taken and (ROOT / file).exists()}
        RECORD.write_text("".join(f"{file} {seconds:.0f}\n" for file, seconds in sorted({**others, **slow}.items())))
    elif unknown := [file for file, seconds in slow.items() if seconds >= 2 * SLOW and file not in known]:
        terminalreporter.write_line(f"not in {RECORD.name}, so begun late: {', '.join(unknown)}")


def _file(nodeid: str) -> str:
    return nodeid.partition("::")[0]
