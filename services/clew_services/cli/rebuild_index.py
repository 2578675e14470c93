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
    """A generation of the index on this machine; ``commits`` is how many of the log it has."""

    generation: int
    asked: bool
    commits: int
    left_out: int
    bytes: int


@click.command("index")
@click.option("--list", "show", is_flag=True, help="Show the generations on this machine, and do nothing.")
@click.option("--back", "back", is_flag=True, help="Have the generation before asked again.")
@click.option("--remove", "removed", type=click.IntRange(min=1), metavar="N", help="Delete generation N.")
@click.option("--anew", is_flag=True, help="Throw away what a rebuild that was broken off has done.")
@options.data_and_nats
@options.index
@options.as_json
def index(
    *, show: bool, back: bool, removed: int | None, anew: bool, data: str, index: str, nats: str, as_json: bool
) -> None:
    """Build another generation of this machine's index from the log, compare it, and have it asked from then on.

    If this is broken off, running it again goes on where it was. The generation before is kept until it is removed.
    The exit code is 5, and the one before is asked as ever, if the new one is not what follows from the log.
    """
    if sum((show, back, removed is not None, anew)) > 1:
        raise click.UsageError("only one of --list, --back, --remove and --anew")
    root = Settings(data=data, index=index).index_folder

    def of_folder(question: Callable[[IndexFolder], T]) -> T:
        async def asked(opened: OpenDeployment) -> T:
            return question(IndexFolder(root, opened.layout.identity))

        return look(nats, asked)

    if show:
        _show(of_folder(_kept_index), as_json=as_json)
    elif back:
        number = of_folder(index_rebuild.go_back)
        _say({"asked": number}, f"generation {number} of the index is asked from now on", as_json=as_json)
    elif removed is not None:
        of_folder(lambda folder: index_rebuild.remove(folder, removed))
        _say({"removed": removed}, f"removed generation {removed} of the index", as_json=as_json)
    else:
        _rebuild(nats, root, anew=anew, as_json=as_json)


def _rebuild(nats: str, root: Path, *, anew: bool, as_json: bool) -> None:
    with bars() as shown:
        tasks = {stage: shown.add_task(stage, total=None, visible=False) for stage in ("filling", "comparing")}

        def tell(progress: index_rebuild.IndexProgress) -> None:
            shown.update(tasks[progress.stage], completed=progress.done, total=progress.total, visible=True)

        done = use_parts(nats, lambda clew: clew.index_rebuild(root, tell).run(anew=anew))
    if as_json:
        print_json(done)
    elif done.live:
        rate = done.commits / done.seconds if done.seconds else 0
        wrong = f", {done.live_was_wrong} threads of which were wrong before" if done.live_was_wrong else ""
        click.echo(
            f"generation {done.generation} of the index is asked from now on: {done.commits} commits in "
            f"{done.seconds:.1f} s ({rate:,.0f} a second), {done.threads} threads{wrong}"
        )
    else:
        for each in done.findings:
            click.echo(output.printable(each))
        click.echo(f"generation {done.before} of the index is asked as before: the new one is not what the log says")
    if not done.live:
        raise click.exceptions.Exit(EXIT_CODES["corrupt"])


def _kept_index(folder: IndexFolder) -> list[KeptIndex]:
    pointer = folder.pointer()
    found = [(number, notes(folder.file(number))) for number in folder.generations()]
    return [
        KeptIndex(
            generation=number,
            asked=pointer is not None and pointer.generation == number,
            commits=sum(place.seq for place in noted.places),
            left_out=len(noted.aside),
            bytes=folder.size(number),
        )
        for number, noted in found
    ]


def _show(found: list[KeptIndex], *, as_json: bool) -> None:
    if as_json:
        print_json({"generations": found})
        return
    title = ("generation", "is", "commits", "left out", "bytes")
    lines = [
        (each.generation, "asked" if each.asked else "kept", each.commits, each.left_out, each.bytes) for each in found
    ]
    output.rows(title, lines, right=frozenset({"generation", "commits", "left out", "bytes"}))


def _say(answer: dict[str, int], words: str, *, as_json: bool) -> None:
    if as_json:
        print_json(answer)
    else:
        click.echo(words)
