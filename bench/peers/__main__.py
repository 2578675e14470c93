"""``make bench-peers``: set everybody up, race, and write ``bench/results/peers.*`` and the README's table."""

from __future__ import annotations

import asyncio
import os
import platform
import subprocess
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
import msgspec
import uvloop

from bench.peers import goals as judging
from bench.peers.contender import ROOT, Enter, Place
from bench.peers.environments import Environment
from bench.peers.processes import CannotRace
from bench.peers.race import Plan, race
from bench.peers.report import Report, markdown, rewritten, short
from bench.peers.rivals import adk, aegra, clew, eventsourcing, langgraph, sessions, umadb

PLOTS: Final = Environment("plots", ("matplotlib==3.11.2",))
BUSY: Final = 1.0
"""The load of the machine above which figures are not worth keeping."""


def contenders() -> Mapping[str, Enter]:
    """Everybody, in the order of the tables."""
    modules = (clew, langgraph, aegra, adk, umadb, eventsourcing, sessions)
    return {name: enter for module in modules for name, enter in module.entries().items()}


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--seconds", default=3.0, show_default=True, help="How long each run lasts.")
@click.option("--rounds", default=3, show_default=True, help="How often each contender has its turn in a lane.")
@click.option("--few", default=1_000, show_default=True, help="Threads stored in most lanes over HTTP.")
@click.option("--many", default=5_000, show_default=True, help="Threads stored, at least, in the second list lane.")
@click.option("--only", multiple=True, help="Only contenders with this in their names; may be repeated.")
@click.option("--environments", type=click.Path(path_type=Path), default=ROOT / "bench" / ".peers", help="Where to.")
@click.option("--results", type=click.Path(path_type=Path), default=ROOT / "bench" / "results", help="Where to.")
@click.option("--readme/--no-readme", default=None, help="Write the README's table; by default if all of it ran.")
def main(
    *,
    seconds: float,
    rounds: int,
    few: int,
    many: int,
    only: tuple[str, ...],
    environments: Path,
    results: Path,
    readme: bool | None,
) -> None:
    """Race Clew and others on this machine."""
    plan = Plan(seconds=seconds, rounds=rounds, few=few, many=many)
    entries = {name: enter for name, enter in contenders().items() if not only or any(one in name for one in only)}
    before = os.getloadavg()[0]
    if before > BUSY:
        click.echo(f"This machine is busy (load {before:.1f}): figures will be low, and not comparable with others.")
    with tempfile.TemporaryDirectory(prefix="clew-peers-") as data:
        Path(data).chmod(0o755)  # PostgreSQL may have to run as another user
        disk = _disk(data)
        click.echo(f"Data on {disk}")
        result = uvloop.run(race(entries, Place(environments.absolute(), Path(data)), plan, click.echo))
    report = Report(
        at=datetime.now(UTC),
        machine=_machine(),
        disk=disk,
        commit=_commit(),
        load_before=before,
        load_after=os.getloadavg()[0],
        plan=plan,
        result=result,
        goals=judging.goals(result.figures, result.abouts),
    )
    _write(report, results, environments)
    if readme or (readme is None and not only):
        path = ROOT / "README.md"
        path.write_text(rewritten(path.read_text(encoding="utf-8"), short(report)), encoding="utf-8")
    for goal in report.goals:
        met = {True: "met", False: "MISSED", None: "cannot be said"}[goal.met]
        ratio = f"{goal.ratio:.1f}" if goal.ratio is not None else "-"
        click.echo(f"{met:7} {ratio:>6} of {goal.wanted:g} x  {goal.title}  ({goal.ours}; {goal.theirs})")


def _write(report: Report, results: Path, environments: Path) -> None:
    results.mkdir(parents=True, exist_ok=True)
    source = results / "peers.json"
    source.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=1) + b"\n")
    picture = _drawn(source, results / "peers.svg", environments)
    (results / "peers.md").write_text(markdown(report, picture=picture), encoding="utf-8")


def _drawn(source: Path, target: Path, environments: Path) -> bool:
    try:
        asyncio.run(PLOTS.installed(environments))
    except CannotRace as reason:
        click.echo(f"no picture: {reason}")
        target.unlink(missing_ok=True)
        return False
    python = PLOTS.program(environments, "python")
    subprocess.run([python, "-m", "bench.peers.plot", source, target], cwd=ROOT, check=True)
    return True


def _machine() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    kernel = f"{platform.system()} {platform.release().partition('-')[0]}"
    model = model or platform.machine()
    return f"{os.cpu_count()} cores ({model}), {memory:.0f} GB, {kernel}, Python {platform.python_version()}"


def _disk(folder: str) -> str:
    """The file system that data is on; on one in memory an fsync costs nothing, and says nothing."""
    found = subprocess.run(
        ["stat", "-f", "-c", "%T", folder], capture_output=True, text=True, check=False
    ).stdout.strip()
    return f"{found}, in memory: no figure of a durable contender means anything" if found == "tmpfs" else found


def _commit() -> str:
    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    changed = git("status", "--porcelain", "--untracked-files=no", "events", "projections", "services", "bench")
    return git("rev-parse", "--short", "HEAD") + ("-changed" if changed else "")


if __name__ == "__main__":
    main()
