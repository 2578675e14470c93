"""``clew status --watch``: a deployment's status on a terminal, refreshed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from clew_services.cli import status_lines
from clew_services.cli.terminal import printable, quantity
from clew_services.status.deployment_status import Glance, Rates, Shard, Status
from clew_services.status.derived_state import DerivedState

BAR: Final = 24
"""Width of a shard's bar, in columns."""
FULL: Final = 1000
"""Commits behind at which a bar is full, unless a shard has more."""
STUCK: Final = 30.0
"""Seconds without progress after which a shard is shown as stuck."""
MOST_PARKED: Final = 5


def screen(glance: Glance, version: str) -> RenderableType:
    """One glance as a screen."""
    head = Text.assemble(("clew ", "bold"), version, f"  {glance.at:%H:%M:%S}Z")
    if glance.status is None:
        message = glance.error.message if glance.error is not None else "no answer"
        return Group(head, Text(f"NATS does not answer correctly: {printable(message)}", style="bold red"))
    return Group(*_parts(head, glance.status, glance.rates))


def line(glance: Glance) -> str:
    """One glance on one line, where there is no terminal."""
    at = f"{glance.at:%Y-%m-%dT%H:%M:%SZ}"
    if glance.status is None:
        return f"{at}  {glance.error.message if glance.error is not None else ''}"
    status, rates = glance.status, glance.rates
    speed = f" ({rates.commits:g}/s)" if rates is not None else ""
    lag = max((shard.lag for shard in status.shards), default=0.0)
    return (
        f"{at}  {quantity(status.commits, 'commits')}{speed}  {status.behind} not projected, oldest {lag:.1f} s  "
        f"{status.inbox} in the inbox  {status.rejected} rejected  {len(status.parked)} parked"
        + "".join(f"  {name} {text}" for name, text in status_lines.facts(status.derived))
    )


def _parts(head: Text, status: Status, rates: Rates | None) -> Iterator[RenderableType]:
    yield head.append(f"  nats-server {status.nats_server}  replicas {status.replicas}")
    yield Text()
    yield _totals(status, rates)
    yield Text()
    if status.derived is not None:
        yield _derived_line(status.derived)
        yield Text()
    yield _shards(status.shards)
    if status.parked:
        yield Text()
        yield Text(quantity(len(status.parked), "parked threads"), style="bold red")
        for parked in status.parked[:MOST_PARKED]:
            yield Text(
                printable(f"  {parked.tenant}  {parked.thread}  {parked.reason}"), overflow="ellipsis", no_wrap=True
            )
        if len(status.parked) > MOST_PARKED:
            yield Text("  … and more: 'clew status' lists all")


def _totals(status: Status, rates: Rates | None) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("", "now", "per second"):
        table.add_column(name, justify="right" if name else "left")
    table.add_row("threads", f"{status.threads:,}", "")
    table.add_row("commits", f"{status.commits:,}", _speed_text(rates.commits if rates else None))
    table.add_row(
        "not projected yet", f"{status.behind:,}", _speed_text(rates.projected if rates else None, " projected")
    )
    table.add_row("waiting in the inbox", f"{status.inbox:,}", _speed_text(rates.inbox if rates else None, " came"))
    refused = Text(f"{status.rejected:,}", style="yellow" if status.rejected else "")
    table.add_row("rejected from the inbox", refused, _speed_text(rates.refused if rates else None))
    return table


def _derived_line(derived: DerivedState) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, text in status_lines.facts(derived):
        table.add_row(name, Text(printable(text), style="bold red" if status_lines.is_bad(name, derived) else ""))
    return table


def _shards(shards: tuple[Shard, ...]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("shard", "threads", "commits", "bytes", "behind", "oldest"):
        table.add_column(name, justify="left" if name == "shard" else "right")
    table.add_column("", width=BAR)
    table.add_column("")
    full = max(FULL, *(shard.behind for shard in shards))
    for shard in shards:
        state, style = _state(shard)
        table.add_row(
            shard.stream,
            f"{shard.threads:,}",
            f"{shard.commits:,}",
            f"{shard.bytes:,}",
            f"{shard.behind:,}",
            f"{shard.lag:.1f} s" if shard.behind else "",
            ProgressBar(total=full, completed=shard.behind, width=BAR, complete_style=style, finished_style=style),
            Text(state, style=style),
        )
    return table


def _state(shard: Shard) -> tuple[str, str]:
    if shard.behind == 0:
        return "idle", "green"
    if shard.still >= STUCK:
        return f"stuck for {shard.still:.0f} s", "bold red"
    return "behind", "yellow"


def _speed_text(value: float | None, what: str = "") -> str:
    return "" if value is None else f"{value:,.1f}{what}"
