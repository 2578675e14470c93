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

    If this is broken off, running it again goes on where it was; run in several places at once, they share the work.
    The generation before is kept: 'clew rebuild back' returns to it, 'clew rebuild remove' removes it. The exit code
    is 5, and the live generation the one it was, if the new one is not what follows from the log.
    """
    with bars() as shown:
        tasks = {stage: shown.add_task(stage, total=None, visible=False) for stage in ("filling", "comparing")}

        def tell(progress: bucket_rebuild.Progress) -> None:
            shown.update(tasks[progress.stage], completed=progress.done, total=progress.total, visible=True)

        done = use_parts(nats, lambda clew: clew.rebuild(tell).run())
    if as_json:
        print_json(done)
    else:
        _show(done)
    if not done.live:
        raise click.exceptions.Exit(EXIT_CODES["corrupt"])


def _show(done: bucket_rebuild.Rebuilt) -> None:
    if not done.live:
        found = [(each.tenant, each.thread, each.code, each.what) for each in done.findings]
        stuck = [(each.tenant, each.thread, each.code, each.reason) for each in done.parked]
        output.rows(("tenant", "thread", "finding", "what"), [*found, *stuck])
        click.echo(
            f"generation {done.generation} does not take over: {done.drifted} threads differ from the log and "
            f"{len(done.parked)} more than before are parked. Generation {done.before} is live as before; "
            f"'clew rebuild remove {done.generation}' gives this one up"
        )
        return
    rate = done.commits / done.seconds if done.seconds else 0
    click.echo(
        f"generation {done.generation} is live, made by fold {done.fold}: {done.commits} commits in "
        f"{done.seconds:.1f} s ({rate:,.0f} a second), {done.threads} threads compared with the log"
    )
    if done.before != done.generation:
        click.echo(
            f"generation {done.before} is kept: 'clew rebuild back' returns to it, "
            f"'clew rebuild remove {done.before}' removes it"
        )


_TITLE = ("generation", "is", "fold", "made", "keys", "bytes", "behind")


@click.command("list")
@options.nats
@options.as_json
def list_generations(*, nats: str, as_json: bool) -> None:
    """Show the generations of buckets: which is live, which are being built, kept or removed, and how far they are."""
    found = use_parts(nats, lambda clew: clew.kept.list())
    if as_json:
        print_json({"generations": found})
        return
    output.rows(_TITLE, map(_line, found), right=frozenset({"generation", "fold", "keys", "bytes", "behind"}))


def _line(each: KeptGeneration) -> tuple[object, ...]:
    counts = ("gone" if count is None else count for count in (each.threads, each.bytes, each.behind))
    return each.generation, "live" if each.live else each.standing, each.fold, output.when(each.made_at), *counts


@click.command("back")
@click.argument("number", type=click.IntRange(min=1), required=False)
@options.nats
@options.as_json
def back(*, number: int | None, nats: str, as_json: bool) -> None:
    """Make the generation before live again, or the one with a NUMBER.

    What it has missed since it was live it catches up with by itself, and answers are right meanwhile.
    """
    record = use_parts(nats, lambda clew: clew.kept.go_back(number))
    if as_json:
        print_json({"live": record.live, "fold": record.current.fold})
    else:
        click.echo(f"generation {record.live} is live")
    if record.current.fold != FOLD:
        click.echo(
            f"It was made by fold {record.current.fold}, which is not that of this version: run the version that made "
            "it, or answers come from the log, which is slower",
            err=True,
        )


@click.command("remove")
@click.argument("number", type=click.IntRange(min=1))
@options.nats
@options.as_json
def remove(*, number: int, nats: str, as_json: bool) -> None:
    """Delete the generation with a NUMBER, finished or not. The live one is refused."""
    use_parts(nats, lambda clew: clew.kept.remove(number))
    if as_json:
        print_json({"removed": number})
    else:
        click.echo(f"removed generation {number}")
