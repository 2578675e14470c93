"""``clew status --watch``: a deployment on a terminal, as it goes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rich.console import Group, RenderableType
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from clew_services.cli import status_lines
from clew_services.cli.output import printable
from clew_services.process.deployment_status import Glance, Rates, Shard, Status
from clew_services.process.derived_state import DerivedState

BAR: Final = 24
"""Columns of the bar of a shard."""
FULL: Final = 1000
"""Commits behind at which a bar is full, unless a shard has more: then that one's is."""
STUCK: Final = 30.0
"""Seconds of standing still after which a shard is called stuck here."""
MOST_PARKED: Final = 5


def screen(glance: Glance, version: str) -> RenderableType:
    """All of one glance."""
    head = Text.assemble(("clew ", "bold"), version, f"  {glance.at:%H:%M:%S}Z")
    if glance.status is None:
        message = glance.error.message if glance.error is not None else "nothing was found"
        return Group(head, Text(f"NATS does not answer as it should: {printable(message)}", style="bold red"))
    return Group(*_parts(head, glance.status, glance.rates))


def line(glance: Glance) -> str:
    """The same in one line, for where there is no terminal."""
    at = f"{glance.at:%Y-%m-%dT%H:%M:%SZ}"
    if glance.status is None:
        return f"{at}  {printable(glance.error.message) if glance.error is not None else ''}"
    found, rates = glance.status, glance.rates
    speed = f" ({rates.commits:g}/s)" if rates is not None else ""
    lag = max((shard.lag for shard in found.shards), default=0.0)
    return (
        f"{at}  {found.commits} commits{speed}  {found.behind} not projected, oldest {lag:.1f} s  "
        f"{found.inbox} in the inbox  {found.rejected} rejected  {len(found.parked)} parked"
        + "".join(f"  {name} {said}" for name, said in status_lines.facts(found.derived))
    )


def _parts(head: Text, found: Status, rates: Rates | None) -> Iterator[RenderableType]:
    yield head.append(f"  nats-server {found.nats_server}  replicas {found.replicas}")
    yield Text()
    yield _totals(found, rates)
    yield Text()
    if found.derived is not None:
        yield _derived_line(found.derived)
        yield Text()
    yield _shards(found.shards)
    if found.parked:
        yield Text()
        yield Text(f"{len(found.parked)} parked threads", style="bold red")
        for each in found.parked[:MOST_PARKED]:
            yield Text(printable(f"  {each.tenant}  {each.thread}  {each.reason}"), overflow="ellipsis", no_wrap=True)
        if len(found.parked) > MOST_PARKED:
            yield Text("  … and more: 'clew status' lists them all")


def _totals(found: Status, rates: Rates | None) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("", "now", "a second"):
        table.add_column(name, justify="right" if name else "left")
    table.add_row("threads", f"{found.threads:,}", "")
    table.add_row("commits", f"{found.commits:,}", _speed_text(rates.commits if rates else None))
    table.add_row(
        "not projected yet", f"{found.behind:,}", _speed_text(rates.projected if rates else None, " projected")
    )
    table.add_row("waiting in the inbox", f"{found.inbox:,}", _speed_text(rates.inbox if rates else None, " came"))
    refused = Text(f"{found.rejected:,}", style="yellow" if found.rejected else "")
    table.add_row("rejected from the inbox", refused, _speed_text(rates.refused if rates else None))
    return table


def _derived_line(found: DerivedState) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, said in status_lines.facts(found):
        table.add_row(name, Text(printable(said), style="bold red" if status_lines.is_bad(name, found) else ""))
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
