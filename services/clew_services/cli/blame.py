"""``clew blame``."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import click

from clew_events.audit_replies import Blame, KeyRemoved, KeySet
from clew_events.queries import GetBlame
from clew_services.cli import commit_lines, options
from clew_services.cli.exit import print_json
from clew_services.cli.output import printable
from clew_services.cli.parts import Source, consult


@click.command("blame")
@options.thread
@click.option("--as-of", type=options.MOMENT, help="After commit N, or at a time in ISO 8601; now, if left out.")
@options.pack
@options.query_options
def command(
    *, thread: str, as_of: int | datetime | None, pack: Path | None, tenant: str, nats: str, as_json: bool
) -> None:
    """Show who last set each part of a thread, when, and in which commit; and who removed what is gone."""

    async def read(clew: Source) -> Blame:
        return await clew.reader.past.blame(tenant, GetBlame(thread_id=thread, as_of=as_of))

    found = consult(nats, pack, read)
    if as_json:
        print_json(found)
    else:
        commit_lines.show(_lines(found))


def _lines(found: Blame) -> Iterator[str]:
    yield f"{found.thread_id}  created by {commit_lines.by_line(found.created)}"
    if found.deleted is not None:
        yield f"{found.thread_id}  deleted by {commit_lines.by_line(found.deleted)}"
    yield from _keys("metadata", found.metadata, found.removed)
    for each in found.tool_resources:
        yield f"{each.resource}={printable(','.join(each.value))}  by {commit_lines.by_line(each.by)}"
    for message in found.messages:
        yield f"{message.id}  added by {commit_lines.by_line(message.added)}"
        if message.deleted is not None:
            yield f"{message.id}  deleted by {commit_lines.by_line(message.deleted)}"
        yield from _keys(message.id, message.metadata, message.removed)


def _keys(of: str, there: Sequence[KeySet], gone: Sequence[KeyRemoved]) -> Iterator[str]:
    for each in there:
        yield f"{of} {printable(f'{each.key}={each.value}')}  by {commit_lines.by_line(each.by)}"
    for was in gone:
        yield f"{of} -{printable(f'{was.key}={was.value}')}  removed by {commit_lines.by_line(was.by)}"
