"""``clew replay``."""

from __future__ import annotations

from datetime import UTC, datetime

import click

from clew_events.queries import GetStateAt
from clew_events.replies import Moment
from clew_services import compose
from clew_services.cli import display, options
from clew_services.cli.outcome import print_json
from clew_services.cli.session import look
from clew_services.cli.thread_asking import thread_facts


@click.command("replay")
@options.thread
@click.option("--at", type=options.MOMENT, help="After commit N, or at a time in ISO 8601; now, if left out.")
@options.asking
def command(*, thread: str, at: int | datetime | None, tenant: str, nats: str, as_json: bool) -> None:
    """Show a thread as it was at some moment, folded anew from its history."""
    query = (
        GetStateAt(thread_id=thread, n=at)
        if isinstance(at, int)
        else GetStateAt(thread_id=thread, time=at or datetime.now(UTC))
    )

    async def fold(clew: compose.Clew) -> Moment:
        return await clew.reader.state_at(tenant, query)

    moment = look(nats, fold)
    if as_json:
        print_json(moment)
        return
    state = thread_facts(moment.thread) if moment.thread is not None else [("thread", f"{thread} (deleted)")]
    display.card([*state, ("messages", moment.message_count), ("n", moment.n), ("at", moment.at)])
