"""``clew rebuild``: rebuild projections from the log while services run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import click
from msgspec import Struct

from clew_projections.fold import FOLD
from clew_projections.index.index_folder import IndexFolder
from clew_projections.index.notes import notes
from clew_projections.indexer import index_rebuild
from clew_services.cli import options, output
from clew_services.cli.exit import EXIT_CODES
from clew_services.cli.parts import use_parts
from clew_services.cli.progress_bars import bars
from clew_services.cli.session import look
from clew_services.cli.terminal import echo, print_json, quantity
from clew_services.open_deployment import OpenDeployment
from clew_services.rebuild import bucket_rebuild
from clew_services.rebuild.kept_generations import KeptGeneration
from clew_services.settings import Settings


@click.command("threads")
@options.nats
@options.as_json
def threads(*, nats: str, as_json: bool) -> None:
    """Build the next generation of buckets from the log, compare it with the log, and switch to it.

    An interrupted rebuild resumes when it is run again; several processes that run it share the work. The previous
    generation is kept: 'clew rebuild back' returns to it, 'clew rebuild remove' removes it. If the new generation is
    not consistent with the log, it does not become live, and the exit code is 5.
    """
    with bars() as progress_bars:
        tasks = {stage: progress_bars.add_task(stage, total=None, visible=False) for stage in ("filling", "comparing")}

        def report(progress: bucket_rebuild.Progress) -> None:
            progress_bars.update(tasks[progress.stage], completed=progress.done, total=progress.total, visible=True)

        rebuilt = use_parts(nats, lambda clew: clew.rebuild(report).run())
    if as_json:
        print_json(rebuilt)
    else:
        _show_rebuilt(rebuilt)
    if not rebuilt.live:
        raise click.exceptions.Exit(EXIT_CODES["corrupt"])


def _show_rebuilt(rebuilt: bucket_rebuild.Rebuilt) -> None:
    if not rebuilt.live:
        findings = [(finding.tenant, finding.thread, finding.code, finding.what) for finding in rebuilt.findings]
        parked = [(thread.tenant, thread.thread, thread.code, thread.reason) for thread in rebuilt.parked]
        output.rows(("tenant", "thread", "finding", "what"), [*findings, *parked])
        echo(
            f"generation {rebuilt.generation} does not become live: threads that differ from the log: "
            f"{rebuilt.drifted}; parked that were not before: {len(rebuilt.parked)}. Generation {rebuilt.before} stays "
            f"live; 'clew rebuild remove {rebuilt.generation}' removes this one"
        )
        return
    rate = rebuilt.commits / rebuilt.seconds if rebuilt.seconds else 0
    echo(
        f"generation {rebuilt.generation} is live, made by fold {rebuilt.fold}: {quantity(rebuilt.commits, 'commits')} "
        f"in {rebuilt.seconds:.1f} s ({rate:,.0f} per second), "
        f"{quantity(rebuilt.threads, 'threads')} compared with the log"
    )
    if rebuilt.before != rebuilt.generation:
        echo(
            f"generation {rebuilt.before} is kept: 'clew rebuild back' returns to it, "
            f"'clew rebuild remove {rebuilt.before}' removes it"
        )


_TITLE = ("generation", "is", "fold", "made", "keys", "bytes", "behind")


@click.command("list")
@options.nats
@options.as_json
def list_generations(*, nats: str, as_json: bool) -> None:
    """Show the generations of buckets: live, being built, kept or being removed, and how far behind each is."""
    generations = use_parts(nats, lambda clew: clew.kept.list())
    if as_json:
        print_json({"generations": generations})
        return
    output.rows(
        _TITLE, map(_generation_row, generations), right=frozenset({"generation", "fold", "keys", "bytes", "behind"})
    )


def _generation_row(kept: KeptGeneration) -> tuple[object, ...]:
    counts = ("gone" if count is None else count for count in (kept.keys, kept.bytes, kept.behind))
    return kept.generation, "live" if kept.live else kept.standing, kept.fold, output.when(kept.made_at), *counts


@click.command("back")
@click.argument("number", type=click.IntRange(min=1), required=False)
@options.nats
@options.as_json
def back(*, number: int | None, nats: str, as_json: bool) -> None:
    """Make the previous generation live again, or the one with this NUMBER.

    It catches up with later commits by itself, and answers are correct meanwhile.
    """
    record = use_parts(nats, lambda clew: clew.kept.go_back(number))
    if as_json:
        print_json({"live": record.live, "fold": record.current.fold})
    else:
        echo(f"generation {record.live} is live")
    if record.current.fold != FOLD:
        echo(
            f"It was built by fold {record.current.fold}, which this version does not have: run the version that built "
            "it, or answers are read from the log, which is slower",
            err=True,
        )


@click.command("remove")
@click.argument("number", type=click.IntRange(min=1))
@options.nats
@options.as_json
def remove(*, number: int, nats: str, as_json: bool) -> None:
    """Delete the generation with this NUMBER, finished or not. The live one cannot be removed."""
    use_parts(nats, lambda clew: clew.kept.remove(number))
    if as_json:
        print_json({"removed": number})
    else:
        echo(f"removed generation {number}")


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
        echo(
            f"generation {rebuilt.generation} of the index is in use: {quantity(rebuilt.commits, 'commits')} "
            f"in {rebuilt.seconds:.1f} s ({rate:,.0f} per second), {quantity(rebuilt.threads, 'threads')}{wrong}"
        )
    else:
        for finding in rebuilt.findings:
            echo(finding)
        echo(f"generation {rebuilt.before} of the index stays in use: the new one is not consistent with the log")
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
        echo(words)


@click.group("rebuild")
def command() -> None:
    """Rebuild projections from the log beside the live generation, and switch to the new one without interruption.

    The buckets of threads and messages come in generations. One is live; earlier ones are kept until they are removed,
    and can be made live again. Each machine's index has generations, too: see 'clew rebuild index --help'.
    """


for subcommand in (threads, index, list_generations, back, remove):
    command.add_command(subcommand)
