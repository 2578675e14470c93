"""``clew rebuild threads``."""

from __future__ import annotations

import click

from clew_projections.fold import FOLD
from clew_services.cli import options, output
from clew_services.cli.exit import EXIT_CODES, print_json
from clew_services.cli.parts import use_parts
from clew_services.cli.progress_bars import bars
from clew_services.rebuild import bucket_rebuild
from clew_services.rebuild.kept_generations import KeptGeneration


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
        _show(rebuilt)
    if not rebuilt.live:
        raise click.exceptions.Exit(EXIT_CODES["corrupt"])


def _show(rebuilt: bucket_rebuild.Rebuilt) -> None:
    if not rebuilt.live:
        findings = [(finding.tenant, finding.thread, finding.code, finding.what) for finding in rebuilt.findings]
        parked = [(thread.tenant, thread.thread, thread.code, thread.reason) for thread in rebuilt.parked]
        output.rows(("tenant", "thread", "finding", "what"), [*findings, *parked])
        click.echo(
            f"generation {rebuilt.generation} does not become live: {rebuilt.drifted} threads differ from the log and "
            f"{len(rebuilt.parked)} more than before are parked. Generation {rebuilt.before} stays live; "
            f"'clew rebuild remove {rebuilt.generation}' removes this one"
        )
        return
    rate = rebuilt.commits / rebuilt.seconds if rebuilt.seconds else 0
    click.echo(
        f"generation {rebuilt.generation} is live, made by fold {rebuilt.fold}: {rebuilt.commits} commits in "
        f"{rebuilt.seconds:.1f} s ({rate:,.0f} per second), {rebuilt.threads} threads compared with the log"
    )
    if rebuilt.before != rebuilt.generation:
        click.echo(
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
    output.rows(_TITLE, map(_line, generations), right=frozenset({"generation", "fold", "keys", "bytes", "behind"}))


def _line(kept: KeptGeneration) -> tuple[object, ...]:
    counts = ("gone" if count is None else count for count in (kept.threads, kept.bytes, kept.behind))
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
        click.echo(f"generation {record.live} is live")
    if record.current.fold != FOLD:
        click.echo(
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
        click.echo(f"removed generation {number}")
