"""``clew diff``."""

from __future__ import annotations

from datetime import datetime

import click

from clew_events.difference import Difference
from clew_events.queries import GetDifference
from clew_services import compose
from clew_services.cli import options, telling
from clew_services.cli.outcome import print_json
from clew_services.cli.session import look


@click.command("diff")
@options.thread
@click.argument("since", metavar="FROM", type=options.BEGINNING)
@click.argument("until", metavar="[TO]", type=options.MOMENT, required=False)
@options.asking
def command(
    *,
    thread: str,
    since: int | datetime,
    until: int | datetime | None,
    tenant: str,
    nats: str,
    as_json: bool,
) -> None:
    """Show what changed in a thread after FROM up to TO: commits' numbers or times in ISO 8601.

    FROM may be 0, before the beginning; without TO it is up to now.
    """

    async def read(clew: compose.Clew) -> Difference:
        return await clew.reader.past.difference(tenant, GetDifference(thread_id=thread, since=since, until=until))

    found = look(nats, read)
    if as_json:
        print_json(found)
        return
    between = (telling.by_line(by) for by in found.commits)
    lines = [f"{found.thread_id} from commit {found.since.n} to {found.until.n}", *between, *telling.changed(found)]
    telling.show(lines)
