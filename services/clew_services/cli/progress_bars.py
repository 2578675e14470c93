"""Progress on a terminal: of a rebuild, and of the streams of a backup or a restore."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.text import Text

from clew_services.backup.take_backup import Progress as Done
from clew_services.backup.take_backup import Tell
from clew_services.cli.terminal import printable


@contextmanager
def show_transfer() -> Iterator[Tell]:
    """A bar for each stream on standard error; they are gone when the work is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bars: dict[str, TaskID] = {}

        def tell(done: Done) -> None:
            name = printable(f"{done.stage} {done.stream}")
            if name not in bars:
                bars[name] = progress.add_task(name, total=done.total)
            progress.update(bars[name], completed=done.done, total=done.total)

        yield tell


class _Rate(ProgressColumn):
    """Steps per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:,.0f}/s")


def bars() -> Progress:
    """Progress bars on standard error that are removed at the end."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Rate(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), transient=True)
