"""What the commands that check many threads share: progress bars, the table of findings, and the exit code."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

import click
from click.core import ParameterSource
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.text import Text

from clew_events.subjects import Address
from clew_projections.findings import Finding
from clew_projections.index.index_folder import IndexFolder
from clew_projections.packs.layout import ErasedContents
from clew_services.cli import output
from clew_services.cli.exit import EXIT_CODES
from clew_services.cli.terminal import echo, print_json, quantity
from clew_services.open_deployment import OpenDeployment

T = TypeVar("T")

everything = click.option("--all", "everything", is_flag=True, help="The threads of all tenants.")


def choose(thread: str | None, tenant: str, everything: bool) -> Address | None:
    """The address of the one thread to check, or ``None`` for several.

    Raises:
        click.UsageError: a thread or a tenant is given together with ``--all``.
    """
    if thread is not None and everything:
        raise click.UsageError("either one THREAD or --all")
    if everything:
        check_all_tenants("--all")
    return Address(tenant, thread) if thread is not None else None


def check_all_tenants(option: str) -> None:
    """Check that no tenant is named beside an option that is about all of them. One in the environment is a default.

    Raises:
        click.UsageError: one is.
    """
    if click.get_current_context().get_parameter_source("tenant") is ParameterSource.COMMANDLINE:
        raise click.UsageError(f"{option} is about the threads of all tenants: omit --tenant, or omit {option}")


def scope_of(thread: str | None, tenant: str | None) -> str:
    """What was checked, as the beginning of a summary: nothing for one thread."""
    if thread is not None:
        return ""
    return "all tenants: " if tenant is None else f"tenant {tenant}: "


async def show_progress(items: AsyncIterator[T], *, total: int, what: str) -> AsyncIterator[T]:
    """Yield ``items``, one for each thread, and show a progress bar on standard error if that is a terminal."""
    with Progress(console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(what, total=total)
        async for item in items:
            progress.advance(task)
            yield item


@contextmanager
def count_to(what: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show progress towards ``total`` commits; call what is yielded with each number of further commits read."""
    with count_up(what) as begin:
        yield begin(total)


@contextmanager
def count_up(what: str) -> Iterator[Callable[[int | None], Callable[[int], None]]]:
    """Show progress where the total is known later, or never: call what is yielded with the total or ``None``."""
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
    """Commits per second."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.finished_speed or task.speed or 0:,.0f} commits/s")


def index_of(opened: OpenDeployment, root: Path) -> Path | None:
    """The file of this machine's index of a deployment, if there is one that is ready for queries."""
    folder = IndexFolder(root, opened.layout.identity)
    pointer = folder.pointer()
    return folder.file(pointer.generation) if pointer is not None and pointer.ready else None


def describe_erased(erased: ErasedContents) -> str:
    """What was erased in a pack when it was made, as a sentence."""
    under_way = f", {erased.under_way} of them not completed then" if erased.under_way else ""
    return (
        f"erased in the pack when it was made: {quantity(erased.contents, 'contents')} of "
        f"{quantity(erased.commits, 'commits')}, by {quantity(erased.erasures, 'erasures')}{under_way}"
    )


def warn_of_others(threads: Sequence[str]) -> None:
    """Name threads that have the ids of erased ones and are left as they are."""
    if threads:
        names = ", ".join(threads)
        echo(f"left as they are, as they have other histories than the erased threads of these ids: {names}", err=True)


def report(
    summary: dict[str, int],
    findings: Sequence[Finding],
    *,
    as_json: bool,
    good: str,
    scope: str = "",
    more: Mapping[str, object] = MappingProxyType({}),
) -> None:
    """Print a summary and the findings; exit with the code ``corrupt`` if there are any.

    ``scope`` says what was checked, see :func:`scope_of`.
    ``more`` is printed as JSON only.
    """
    if as_json:
        print_json({**summary, **more, "findings": findings})
    else:
        if findings:
            lines = [(f.tenant, f.thread, f.code, f.seq or "", f.what) for f in findings]
            output.rows(("tenant", "thread", "finding", "seq", "what"), lines)
        counts = ", ".join(quantity(count, name) for name, count in summary.items())
        echo(f"{scope}{counts}: {quantity(len(findings), 'findings') if findings else good}")
    if findings:
        raise click.exceptions.Exit(EXIT_CODES["corrupt"])
