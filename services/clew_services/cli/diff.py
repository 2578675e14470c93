"""``clew diff``."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import click

from clew_events.audit_replies import Difference
from clew_events.queries import GetDifference
from clew_services.cli import commit_lines, options
from clew_services.cli.exit import print_json
from clew_services.cli.parts import Source, consult


@click.command("diff")
@options.thread
@click.argument("since", metavar="FROM", type=options.BEGINNING)
@click.argument("until", metavar="[TO]", type=options.MOMENT, required=False)
@options.pack
@options.query_options
def command(
    *,
    thread: str,
    since: int | datetime,
    until: int | datetime | None,
    pack: Path | None,
    tenant: str,
    nats: str,
    as_json: bool,
) -> None:
    """Show what changed in a thread after FROM up to TO: commit numbers or times in ISO 8601.

    FROM may be 0, before the first commit; TO is now by default.
    """

    async def read(clew: Source) -> Difference:
        return await clew.reader.past.difference(tenant, GetDifference(thread_id=thread, since=since, until=until))

    difference = consult(nats, pack, read)
    if as_json:
        print_json(difference)
        return
    commits = (commit_lines.by_line(origin) for origin in difference.commits)
    lines = [
        f"{difference.thread_id} from commit {difference.since.n} to {difference.until.n}",
        *commits,
        *commit_lines.change_lines(difference),
    ]
    commit_lines.show(lines)
