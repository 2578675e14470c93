"""Long checks of many threads: progress while they run, findings at the end, and the exit code that tells."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from clew_events.subjects import Address
from clew_projections.findings import Finding
from clew_projections.index.index_folder import IndexFolder
from clew_services.cli import output
from clew_services.cli.exit import EXIT_CODES, print_json
from clew_services.open_deployment import OpenDeployment

T = TypeVar("T")

everything = click.option("--all", "everything", is_flag=True, help="The threads of all tenants.")


def chosen(thread: str | None, tenant: str, everything: bool) -> Address | None:
    """The one thread that was asked for, if it was one."""
    if thread is not None and everything:
        raise click.UsageError("either one THREAD or --all")
    return Address(tenant, thread) if thread is not None else None


async def with_progress(found: AsyncIterator[T], *, total: int, what: str) -> AsyncIterator[T]:
    """The same items, with a bar on a terminal's standard error that says how far it is."""
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        async for item in found:
            progress.advance(task)
            yield item


@contextmanager
def count_to(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """What to tell how many commits more were read; a terminal shows the share done and how fast it goes."""
    with count_up(what) as begin:
        yield begin(total)


@contextmanager
def count_up(what: str) -> Iterator[Callable[[int | None], Callable[[int], None]]]:
    """The same, for when it is known how many there are only later, or not at all."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        _SpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:

        def begin(total: int | None) -> Callable[[int], None]:
            task = progress.add_task(what, total=total)
            return lambda more: progress.advance(task, more)

        yield begin


class _SpeedColumn(ProgressColumn):
    """Commits a second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:,.0f} commits/s")


def index_of(opened: OpenDeployment, root: Path) -> Path | None:
    """The file of the index that this machine has of a deployment, if it has one that can be asked."""
    folder = IndexFolder(root, opened.layout.identity)
    pointer = folder.pointer()
    return folder.file(pointer.generation) if pointer is not None and pointer.ready else None


def report(
    summary: dict[str, int],
    findings: Sequence[Finding],
    *,
    as_json: bool,
    good: str,
    more: Mapping[str, object] = MappingProxyType({}),
) -> None:
    """Print what was checked and what was found, and leave with the code for a damaged record if anything was.

    ``more`` is what only programs are told.
    """
    if as_json:
        print_json({**summary, **more, "findings": findings})
    else:
        if findings:
            lines = [(each.tenant, each.thread, each.code, each.seq or "", each.what) for each in findings]
            output.rows(("tenant", "thread", "finding", "seq", "what"), lines)
        counts = ", ".join(f"{count} {name}" for name, count in summary.items())
        click.echo(f"{counts}: {f'{len(findings)} findings' if findings else good}")
    if findings:
        raise click.exceptions.Exit(EXIT_CODES["corrupt"])
