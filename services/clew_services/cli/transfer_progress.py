"""Progress of a backup or a restore on a terminal: stream, bytes, bytes per second."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TaskID, TextColumn, TransferSpeedColumn

from clew_services.backup.take_backup import Progress as Done
from clew_services.backup.take_backup import Tell


@contextmanager
def show_transfer() -> Iterator[Tell]:
    """Show a bar for each stream on standard error; they are removed at the end."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bars: dict[str, TaskID] = {}

        def report(done: Done) -> None:
            name = f"{done.stage} {done.stream}"
            if name not in bars:
                bars[name] = progress.add_task(name, total=done.total)
            progress.update(bars[name], completed=done.done, total=done.total)

        yield report
