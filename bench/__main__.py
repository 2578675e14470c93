"""``make bench``: run every lane, print the table, and leave the figures in ``bench/results/``."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

import click
import msgspec
import uvloop
from rich.console import Console
from rich.table import Table

from bench.auditing import auditing
from bench.costs import costs
from bench.erasing import Erasing, erasing
from bench.imports import imports
from bench.items import items
from bench.lane import Cost, Lane
from bench.load import Measured
from bench.messages import messages
from bench.projecting import projecting
from bench.scaling import SIZES, Scaled, scaled
from bench.serving import serving
from bench.sizing import Size, sizing
from bench.spending import HERE, Compared, Kind, Spent, compared, spending

RESULTS = Path(__file__).parent / "results"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--seconds", default=4.0, show_default=True, help="How long each run of a serving lane lasts.")
@click.option("--threads", default=20_000, show_default=True, help="How many threads the projector lanes project.")
@click.option("--commits", default=100_000, show_default=True, help="How long a log the auditing lanes read.")
@click.option(
    "--scale",
    type=click.Path(path_type=Path),
    help="Compare 1,000 with 1,000,000 threads instead, kept in this folder.",
)
@click.option("--spending", "where", is_flag=True, help="Say instead which process spends how much on a request.")
@click.option(
    "--beside",
    type=click.Path(path_type=Path, exists=True),
    help="With --spending: the program 'clew' of another installation, asked in turn with this one.",
)
@click.option("--messages", "kind", flag_value="messages", help="With --spending: requests about messages.")
@click.option("--erasing", "forgetting", is_flag=True, help="Erase threads instead while others are written.")
@click.option("--sizing", "weighing", is_flag=True, help="Say instead how many bytes a commit takes.")
@click.option("--rounds", default=5, show_default=True, help="With --beside: how often each has its turn.")
def main(
    *,
    seconds: float,
    threads: int,
    commits: int,
    scale: Path | None,
    where: bool,
    beside: Path | None,
    kind: Kind | None,
    forgetting: bool,
    weighing: bool,
    rounds: int,
) -> None:
    """Measure Clew beside the raw limit of the same NATS server."""
    if weighing:
        sizes = uvloop.run(sizing(threads))
        _print_sizing(sizes)
        _write("sizing", {"sizing": sizes})
        return
    if forgetting:
        erased = uvloop.run(erasing(threads, seconds))
        _print_erasing(erased)
        _write("erasing", {"erasing": erased})
        return
    if where and beside is not None:
        _print_compared(uvloop.run(compared(seconds, rounds, beside.absolute(), kind or "threads")))
        return
    if where:
        spent = uvloop.run(spending(seconds, kind or "threads"))
        _print_spending(spent)
        _write("spending", {"spending": spent})
        return
    if scale is not None:
        found = uvloop.run(scaled(scale, seconds))
        _print_scale(found)
        _write("scale", {"scale": found})
        return
    lanes, found_costs, memory = uvloop.run(_all(seconds, threads, commits))
    _print(lanes, memory)
    _print_costs(found_costs)
    _save(lanes, found_costs, memory)


async def _all(seconds: float, threads: int, commits: int) -> tuple[list[Lane], list[Cost], Mapping[str, float]]:
    lanes, memory = await serving(seconds)
    lanes += await messages(seconds)
    lanes += await items(seconds)
    lanes.append(await imports(seconds))
    lanes.append(await projecting(threads, 1))
    lanes.append(await projecting(threads // 10, 10))
    read, reading = await auditing(seconds, commits)
    return [*lanes, *read], [*await costs(seconds), *reading], memory


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


def _print_costs(found: list[Cost]) -> None:
    table = Table(title="What it costs")
    for column in ("what", "before", "goal", "now"):
        table.add_column(column, justify="left" if column == "what" else "right")
    for cost in found:
        table.add_row(cost.name, cost.before, cost.goal, f"{cost.now:,.2f}")
    Console(width=150).print(table)


def _print_spending(spent: list[Spent]) -> None:
    table = Table(title="Microseconds of processor time of one request")
    table.add_column("process")
    for each in spent:
        table.add_column(each.name, justify="right")
    table.add_row("a second", *(f"{each.per_second:,.0f}" for each in spent), end_section=True)
    for process in spent[0].micros:
        table.add_row(process, *(f"{each.micros.get(process, 0.0):,.0f}" for each in spent))
    table.add_section()
    table.add_row("all", *(f"{sum(each.micros.values()):,.0f}" for each in spent))
    Console(width=150).print(table)


def _print_compared(found: list[Compared]) -> None:
    table = Table(title="Microseconds of processor time of one request: this installation, the other, and the ratio")
    table.add_column("process")
    for each in found:
        table.add_column(each.name, justify="right")
    for process in found[0].ours.micros:
        both = [(each.ours.micros.get(process, 0.0), each.theirs.micros.get(process, 0.0)) for each in found]
        table.add_row(process, *(f"{ours:,.0f}  {theirs:,.0f}  {_ratio(ours, theirs)}" for ours, theirs in both))
    table.add_section()
    cells = (f"{each.ours.all:,.0f}  {each.theirs.all:,.0f}  {each.ratio:.2f}" for each in found)
    table.add_row(f"all but the {HERE}", *cells)
    table.add_row(
        "ratios of the rounds",
        *(f"{each.ratios[0]:.2f} … {median(each.ratios):.2f} … {each.ratios[-1]:.2f}" for each in found),
    )
    Console(width=170).print(table)


def _ratio(ours: float, theirs: float) -> str:
    return f"{ours / theirs:.2f}" if theirs > 10 else "    "


def _print_sizing(sizes: list[Size]) -> None:
    table = Table(title="bytes that a commit adds")
    for column in ("with", "log", "buckets", "disk", "index"):
        table.add_column(column, justify="left" if column == "with" else "right")
    for size in sizes:
        table.add_row(size.kind, *(f"{count:,.0f}" for count in (size.log, size.buckets, size.disk, size.index)))
    Console(width=150).print(table)


def _print_erasing(found: Erasing) -> None:
    table = Table(title=f"{found.threads:,} threads of {found.commits} commits erased while others are written")
    for column in ("writers", "created /s", "p50 ms", "p99 ms", "worst p99 ms"):
        table.add_column(column, justify="left" if column == "writers" else "right")
    for name, each in found.writers.items():
        figures = (f"{each.per_second:,.0f}", *(f"{ms:.1f}" for ms in (each.p50, each.p99, found.worst[name])))
        table.add_row(name, *figures)
    console = Console(width=150)
    console.print(table)
    said = f"{found.done:,} threads out of the log in {found.seconds:.0f} s: {found.per_second:.2f} a second"
    bound = f"at most {found.bound:.2f} by the budget of deletions, in {found.shards} shards"
    console.print(f"{said}; {bound}", highlight=False)
    for what, (threads, half, last) in found.lag.items():
        console.print(f"{what}: {threads:,} threads, half of them after {half:.1f} s, the last after {last:.1f} s")
    for name, seconds in found.computed.items():
        console.print(f"computed {seconds:7.1f} s  {name}", highlight=False)
    for name, (before, after) in found.memory.items():
        console.print(f"memory  {before:6.0f} MB, then {after:6.0f} MB  {name}", highlight=False)


def _print_scale(found: Scaled) -> None:
    few, many = SIZES
    table = Table(title=f"{few:,} and {many:,} threads, {datetime.now(UTC):%Y-%m-%d}")
    for column in ("request", f"{few:,}: p50 ms", f"{many:,}: p50 ms", "ratio", "at most"):
        table.add_column(column, justify="left" if column == "request" else "right")
    for each in found.compared.requests:
        ratio = f"{each.ratio:.2f}"
        table.add_row(each.name, f"{each.few.p50:.2f}", f"{each.many.p50:.2f}", ratio, f"{each.goal:.1f}")
    console = Console(width=150)
    console.print(table)
    for size, starts in found.starts.items():
        for start in starts:
            parts = f"server {start.server:.1f} s, ready {start.ready:.1f} s, lists {start.lists:.1f} s"
            console.print(
                f"start of {size} after {start.after}: {parts}, processors {start.cpu:.1f} s", highlight=False
            )
    for name, megabytes in found.compared.many_mb.items():
        console.print(f"memory  {megabytes:6.0f} MB  {name}, after these requests to {many:,} threads", highlight=False)
    late = found.lag
    console.print(f"lag at {late.per_second:,.0f} commands/s: p50 {late.p50:.1f} ms, p99 {late.p99:.1f} ms")


def _latency(measured: Measured) -> tuple[str, str]:
    return (f"{measured.p50:.1f}", f"{measured.p99:.1f}") if measured.p50 else ("", "")


def _save(lanes: list[Lane], found: list[Cost], memory: Mapping[str, float]) -> None:
    _write("latest", {"lanes": lanes, "costs": found, "memory_mb": dict(memory)})


def _write(name: str, found: Mapping[str, object]) -> None:
    RESULTS.mkdir(exist_ok=True)
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    report = {"at": datetime.now(UTC), "machine": machine, **found}
    raw = msgspec.json.format(msgspec.json.encode(report), indent=2)
    (RESULTS / f"{name}.json").write_bytes(raw + b"\n")


if __name__ == "__main__":
    main()
