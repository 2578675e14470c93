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
@click.option("--as-of", type=options.MOMENT, help="After commit N, or at a time in ISO 8601.  [default: now]")
@options.pack
@options.query_options
def command(
    *, thread: str, as_of: int | datetime | None, pack: Path | None, tenant: str, nats: str, as_json: bool
) -> None:
    """Show who last set each part of a thread, when, and in which commit; and who removed each removed part."""

    async def read(clew: Source) -> Blame:
        return await clew.reader.past.blame(tenant, GetBlame(thread_id=thread, as_of=as_of))

    blame = consult(nats, pack, read)
    if as_json:
        print_json(blame)
    else:
        commit_lines.show(_lines(blame))


def _lines(blame: Blame) -> Iterator[str]:
    yield f"{blame.thread_id}  created by {commit_lines.by_line(blame.created)}"
    if blame.deleted is not None:
        yield f"{blame.thread_id}  deleted by {commit_lines.by_line(blame.deleted)}"
    yield from _keys("metadata", blame.metadata, blame.removed)
    for resource in blame.tool_resources:
        yield f"{resource.resource}={printable(','.join(resource.value))}  by {commit_lines.by_line(resource.by)}"
    for message in blame.messages:
        yield f"{message.id}  added by {commit_lines.by_line(message.added)}"
        if message.deleted is not None:
            yield f"{message.id}  deleted by {commit_lines.by_line(message.deleted)}"
        yield from _keys(message.id, message.metadata, message.removed)


def _keys(owner: str, present: Sequence[KeySet], gone: Sequence[KeyRemoved]) -> Iterator[str]:
    for key in present:
        yield f"{owner} {printable(f'{key.key}={key.value}')}  by {commit_lines.by_line(key.by)}"
    for removed in gone:
        text = printable(f"{removed.key}={removed.value}")
        yield f"{owner} -{text}  removed by {commit_lines.by_line(removed.by)}"
