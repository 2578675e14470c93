"""Answers as text: tables and cards."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from clew_services.cli.terminal import Markup, echo, printable

if TYPE_CHECKING:
    from rich.table import Table

WIDE = 4000
"""Width in columns where standard output is no terminal."""

_IDS: Final = frozenset({"thread", "message", "item", "parked thread", "id"})
"""The columns that hold ids."""
_NARROW: Final = 10
"""The width in columns that any other column has at least, as far as it needs that."""


def rows(title: Sequence[str], lines: Iterable[Sequence[object]], *, right: frozenset[str] = frozenset()) -> None:
    """Print a table with a heading; the columns named in ``right`` are aligned to the right.

    Ids stay on one line, so that they can be copied. The table is wider than a terminal that is too narrow for them.
    """
    from rich.cells import cell_len  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415 - commands that answer in JSON do without
    from rich.text import Text  # noqa: PLC0415

    texts = [[printable(str(cell)) for cell in line] for line in lines]
    widths = [max(map(cell_len, column)) for column in zip(title, *texts, strict=True)]
    needed = sum(width if name in _IDS else min(width, _NARROW) for name, width in zip(title, widths, strict=True))
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in title:
        table.add_column(name, justify="right" if name in right else "left", overflow="fold", no_wrap=name in _IDS)
    for line in texts:
        table.add_row(*map(Text, line))
    _print(table, needed + 2 * len(title))


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


def _print(table: Table, needed: int = 0) -> None:
    from rich.console import Console  # noqa: PLC0415

    console = Console(width=None if sys.stdout.isatty() else WIDE, markup=False, highlight=False, emoji=False)
    console.width = max(console.width, needed)
    with console.capture() as captured:
        console.print(table)
    for line in captured.get().splitlines():
        echo(Markup(line.rstrip()))


def when(moment: datetime | int) -> str:
    """A time, given as such or in Unix seconds, as text in UTC."""
    if isinstance(moment, int):
        return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3] + "Z"
