"""``clew rebuild index``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click
from msgspec import Struct

from clew_projections.index.index_folder import IndexFolder
from clew_projections.index.notes import notes
from clew_projections.indexer import index_rebuild
from clew_services.cli import options, output
from clew_services.cli.exit import EXIT_CODES, print_json
from clew_services.cli.parts import use_parts
from clew_services.cli.progress_bars import bars
from clew_services.cli.session import look
from clew_services.open_deployment import OpenDeployment
from clew_services.settings import Settings

T = TypeVar("T")


class KeptIndex(Struct, frozen=True, kw_only=True):
    """A generation of the index on this machine; ``commits`` is how many commits of the log it holds."""

    generation: int
    asked: bool
    commits: int
    left_out: int
    bytes: int


@click.command("index")
@click.option("--list", "show", is_flag=True, help="Show the generations on this machine.")
@click.option("--back", "back", is_flag=True, help="Use the previous generation again.")
@click.option("--remove", "removed", type=click.IntRange(min=1), metavar="N", help="Delete generation N.")
@click.option("--anew", is_flag=True, help="Discard an interrupted rebuild and begin again.")
@options.data_and_nats
@options.index
@options.as_json
def index(
    *, show: bool, back: bool, removed: int | None, anew: bool, data: str, index: str, nats: str, as_json: bool
) -> None:
    """Build the next generation of this machine's index from the log, compare it with the log, and switch to it.

    An interrupted rebuild resumes when it is run again. The previous generation is kept until it is removed. If the new
    generation is not consistent with the log, the previous one stays in use, and the exit code is 5.
    """
    if sum((show, back, removed is not None, anew)) > 1:
        raise click.UsageError("only one of --list, --back, --remove and --anew")
    root = Settings(data=data, index=index).index_folder

    def with_folder(action: Callable[[IndexFolder], T]) -> T:
        async def run(opened: OpenDeployment) -> T:
            return action(IndexFolder(root, opened.layout.identity))

        return look(nats, run)

    if show:
        _show(with_folder(_kept_index), as_json=as_json)
    elif back:
        number = with_folder(index_rebuild.go_back)
        _print({"asked": number}, f"generation {number} of the index is in use", as_json=as_json)
    elif removed is not None:
        with_folder(lambda folder: index_rebuild.remove(folder, removed))
        _print({"removed": removed}, f"removed generation {removed} of the index", as_json=as_json)
    else:
        _rebuild(nats, root, anew=anew, as_json=as_json)


def _rebuild(nats: str, root: Path, *, anew: bool, as_json: bool) -> None:
    with bars() as progress_bars:
        tasks = {stage: progress_bars.add_task(stage, total=None, visible=False) for stage in ("filling", "comparing")}

        def report(progress: index_rebuild.IndexProgress) -> None:
            progress_bars.update(tasks[progress.stage], completed=progress.done, total=progress.total, visible=True)

        rebuilt = use_parts(nats, lambda clew: clew.index_rebuild(root, report).run(anew=anew))
    if as_json:
        print_json(rebuilt)
    elif rebuilt.live:
        rate = rebuilt.commits / rebuilt.seconds if rebuilt.seconds else 0
        wrong = f", {rebuilt.live_was_wrong} of which were wrong in the previous one" if rebuilt.live_was_wrong else ""
        click.echo(
            f"generation {rebuilt.generation} of the index is in use: {rebuilt.commits} commits in "
            f"{rebuilt.seconds:.1f} s ({rate:,.0f} per second), {rebuilt.threads} threads{wrong}"
        )
    else:
        for finding in rebuilt.findings:
            click.echo(output.printable(finding))
        click.echo(f"generation {rebuilt.before} of the index stays in use: the new one is not consistent with the log")
    if not rebuilt.live:
        raise click.exceptions.Exit(EXIT_CODES["corrupt"])


def _kept_index(folder: IndexFolder) -> list[KeptIndex]:
    pointer = folder.pointer()
    notes_by_number = [(number, notes(folder.file(number))) for number in folder.generations()]
    return [
        KeptIndex(
            generation=number,
            asked=pointer is not None and pointer.generation == number,
            commits=sum(position.seq for position in noted.places),
            left_out=len(noted.aside),
            bytes=folder.size(number),
        )
        for number, noted in notes_by_number
    ]


def _show(generations: list[KeptIndex], *, as_json: bool) -> None:
    if as_json:
        print_json({"generations": generations})
        return
    title = ("generation", "is", "commits", "left out", "bytes")
    lines = [
        (kept.generation, "in use" if kept.asked else "kept", kept.commits, kept.left_out, kept.bytes)
        for kept in generations
    ]
    output.rows(title, lines, right=frozenset({"generation", "commits", "left out", "bytes"}))


def _print(answer: dict[str, int], words: str, *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
    else:
        click.echo(words)
