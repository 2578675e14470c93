"""``clew rebuild threads``."""

from __future__ import annotations

import click

from clew_services import compose
from clew_services.cli import display, options
from clew_services.cli.outcome import EXIT_CODES, print_json
from clew_services.cli.rebuild.bars import bars
from clew_services.cli.session import look
from clew_services.rebuilding import rebuild


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

        def tell(progress: rebuild.Progress) -> None:
            shown.update(tasks[progress.stage], completed=progress.done, total=progress.total, visible=True)

        async def rebuilt(clew: compose.Clew) -> rebuild.Rebuilt:
            return await rebuild.Rebuild(clew, tell).run()

        done = look(nats, rebuilt)
    if as_json:
        print_json(done)
    else:
        _show(done)
    if not done.live:
        raise click.exceptions.Exit(EXIT_CODES["corrupt"])


def _show(done: rebuild.Rebuilt) -> None:
    if not done.live:
        found = [(each.tenant, each.thread, each.code, each.what) for each in done.findings]
        stuck = [(each.tenant, each.thread, each.code, each.reason) for each in done.parked]
        display.rows(("tenant", "thread", "finding", "what"), [*found, *stuck])
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
