"""``make bench``: run every lane, print the table, and leave the figures in ``bench/results/``."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

import click
import msgspec
import uvloop
from rich.console import Console
from rich.table import Table

from bench.auditing import auditing
from bench.lane import Lane
from bench.load import Measured
from bench.messages import messages
from bench.projecting import projecting
from bench.serving import serving

RESULTS = Path(__file__).parent / "results"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--seconds", default=4.0, show_default=True, help="How long each run of a serving lane lasts.")
@click.option("--threads", default=20_000, show_default=True, help="How many threads the projector lanes project.")
def main(seconds: float, threads: int) -> None:
    """Measure Clew beside the raw limit of the same NATS server."""
    lanes, memory = uvloop.run(_all(seconds, threads))
    _print(lanes, memory)
    _save(lanes, memory)


async def _all(seconds: float, threads: int) -> tuple[list[Lane], Mapping[str, float]]:
    lanes, memory = await serving(seconds)
    lanes += await messages(seconds)
    lanes.append(await projecting(threads, 1))
    lanes.append(await projecting(threads // 10, 10))
    lanes += await auditing(seconds)
    return lanes, memory


def _print(lanes: list[Lane], memory: Mapping[str, float]) -> None:
    table = Table(title=f"Clew, {datetime.now(UTC):%Y-%m-%d}, {os.cpu_count()} cores, {platform.machine()}")
    for column in ("lane", "clew /s", "p50 ms", "p99 ms", "raw", "raw /s", "ratio", "goal"):
        table.add_column(column, justify="left" if column in {"lane", "raw"} else "right")
    for lane in lanes:
        raw, ratio = lane.raw, lane.ratio
        table.add_row(
            lane.name,
            f"{lane.clew.per_second:,.0f}",
            *_latency(lane.clew),
            lane.raw_name,
            f"{raw.per_second:,.0f}" if raw is not None else "",
            f"{ratio:.0%}" if ratio is not None else "",
            f"{lane.goal:.0%}" if lane.goal is not None else "",
        )
    console = Console(width=150)
    console.print(table)
    for name, megabytes in memory.items():
        console.print(f"memory  {megabytes:6.0f} MB  {name}", highlight=False)


def _latency(measured: Measured) -> tuple[str, str]:
    return (f"{measured.p50:.1f}", f"{measured.p99:.1f}") if measured.p50 else ("", "")


def _save(lanes: list[Lane], memory: Mapping[str, float]) -> None:
    RESULTS.mkdir(exist_ok=True)
    report = {
        "at": datetime.now(UTC),
        "machine": f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}",
        "lanes": lanes,
        "memory_mb": dict(memory),
    }
    raw = msgspec.json.format(msgspec.json.encode(report), indent=2)
    (RESULTS / "latest.json").write_bytes(raw + b"\n")


if __name__ == "__main__":
    main()
