"""Answers as text: tables and cards."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from clew_services.cli.terminal import Markup, echo, printable

if TYPE_CHECKING:
    from rich.table import Table

WIDE = 4000
"""Width in columns where standard output is no terminal."""


def rows(title: Sequence[str], lines: Iterable[Sequence[object]], *, right: frozenset[str] = frozenset()) -> None:
    """Print a table with a heading; the columns named in ``right`` are aligned to the right."""
    from rich.table import Table  # noqa: PLC0415 - commands that answer in JSON do without
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in title:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold")
    for line in lines:
        table.add_row(*(Text(printable(str(cell))) for cell in line))
    _print(table)


def card(facts: Iterable[tuple[str, object]]) -> None:
    """Print names and values, one pair on a line."""
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in facts:
        table.add_row(printable(name), Text(printable(str(value))))
    _print(table)


def _print(table: Table) -> None:
    from rich.console import Console  # noqa: PLC0415

    console = Console(width=None if sys.stdout.isatty() else WIDE, markup=False, highlight=False, emoji=False)
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        echo(Markup(line.rstrip()))


def when(moment: datetime | int) -> str:
    """A time, given as such or in Unix seconds, as text in UTC."""
    if isinstance(moment, int):
        return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"
