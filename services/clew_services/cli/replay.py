"""``clew replay``."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from pathlib import Path

import click

from clew_events.queries import GetStateAt
from clew_events.replies import Moment
from clew_services.cli import display, options
from clew_services.cli.following import follow
from clew_services.cli.outcome import print_json
from clew_services.cli.session import Source, consult, look
from clew_services.cli.thread_asking import thread_facts


@click.command("replay")
@options.maybe_thread
@click.option(
    "--at", "--as-of", type=options.MOMENT, help="After commit N, or at a time in ISO 8601; now, if left out."
)
@click.option("-f", "--follow", "following", is_flag=True, help="Show commits as they happen, until interrupted.")
@click.option("--after", help="With --follow, go on after the commit of this id, as --json shows it; now, if left out.")
@options.pack
@options.asking
def command(
    *,
    thread: str | None,
    at: int | datetime | None,
    following: bool,
    after: str | None,
    pack: Path | None,
    tenant: str,
    nats: str,
    as_json: bool,
) -> None:
    """Show a thread as it was at some moment, folded anew from its history.

    With --follow, show the commits of all of a tenant's threads, or of THREAD, as they happen.
    """
    if following:
        if at is not None:
            raise click.UsageError("--follow shows what happens from now on: it does not go with --at")
        if pack is not None:
            raise click.UsageError("--follow shows what happens from now on, and in a pack nothing happens any more")
        with contextlib.suppress(KeyboardInterrupt):
            look(nats, lambda clew: follow(clew, tenant, thread, after or "latest", as_json=as_json))
        return
    if after is not None:
        raise click.UsageError("--after says from where on to --follow")
    if thread is None:
        raise click.UsageError("Missing argument 'THREAD'.")
    query = (
        GetStateAt(thread_id=thread, n=at)
        if isinstance(at, int)
        else GetStateAt(thread_id=thread, time=at or datetime.now(UTC))
    )

    async def fold(clew: Source) -> Moment:
        return await clew.reader.state_at(tenant, query)

    moment = consult(nats, pack, fold)
    if as_json:
        print_json(moment)
        return
    state = thread_facts(moment.thread) if moment.thread is not None else [("thread", f"{thread} (deleted)")]
    display.card([*state, ("messages", moment.message_count), ("n", moment.n), ("at", moment.at)])
