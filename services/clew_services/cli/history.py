"""``clew history``."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import get_args

import click
from msgspec.structs import replace

from clew_events.audit_replies import Difference
from clew_events.errors import Corrupt
from clew_events.queries import EventType, GetHistory
from clew_events.replies import Entry, History, MissingCommits
from clew_events.subjects import Address
from clew_projections.audit.diff import DiffFold
from clew_projections.audit.moments import NOW, Moment
from clew_services.cli import commit_lines, options
from clew_services.cli.exit import EXIT_CODES, print_json
from clew_services.cli.parts import Source, consult

_PAGE = 1000
_TYPES = get_args(EventType)


@click.command("history")
@options.thread
@click.option("--start", type=click.IntRange(min=1), help="The first commit to show.")
@click.option("-n", "--limit", type=click.IntRange(min=1), help="Show at most so many.")
@click.option("--reverse", is_flag=True, help="The newest first.")
@click.option("-p", "--patch", is_flag=True, help="Show what each changed: before with a minus, after with a plus.")
@click.option("--type", "types", type=click.Choice(_TYPES), multiple=True, help="Only with such an event.")
@click.option("--actor", help="Only by this one; with a * at its end, by all whose names begin so.")
@click.option("--since", type=options.TIME, help="Only from this time on.")
@click.option("--until", type=options.TIME, help="Only up to this time.")
@options.pack
@options.query_options
def command(
    *,
    thread: str,
    start: int | None,
    limit: int | None,
    reverse: bool,
    patch: bool,
    types: Sequence[EventType],
    actor: str | None,
    since: datetime | None,
    until: datetime | None,
    pack: Path | None,
    tenant: str,
    nats: str,
    as_json: bool,
) -> None:
    """Show how a thread came to be what it is: one line per commit, by default the oldest first.

    Commits that the log lost are named in their places, and the exit code is then 5.
    """
    query = GetHistory(
        thread_id=thread,
        start=start,
        limit=min(limit or _PAGE, _PAGE),
        order="desc" if reverse else "asc",
        types=tuple(types),
        actor=actor,
        since=since,
        until=until,
    )

    async def read(clew: Source) -> tuple[History, dict[int, Difference]]:
        history = await _all(clew, tenant, query, limit)
        numbers = {entry.commit.n for entry in history.commits} if patch and not as_json else set()
        return history, await _patches(clew, Address(tenant, thread), numbers)

    history, patches = consult(nats, pack, read)
    if as_json:
        print_json(history)
    else:
        commit_lines.show(_lines(history, patches, reverse=reverse))
    if history.missing:
        raise click.exceptions.Exit(EXIT_CODES["corrupt"])


def _lines(history: History, patches: dict[int, Difference], *, reverse: bool) -> list[str]:
    told: dict[int, list[str]] = {each.first: [commit_lines.format_gap(each)] for each in history.missing}
    for entry in history.commits:
        lines = told.setdefault(entry.commit.n, [])
        lines.append(commit_lines.one_line(entry.commit, entry.hash))
        if (found := patches.get(entry.commit.n)) is not None:
            lines += [*commit_lines.change_lines(found), ""]
    return [line for n in sorted(told, reverse=reverse) for line in told[n]]


async def _all(clew: Source, tenant: str, query: GetHistory, limit: int | None) -> History:
    entries: list[Entry] = []
    missing: list[MissingCommits] = []
    while True:
        page = await clew.reader.history(tenant, query)
        entries += page.commits
        missing += page.missing
        if page.cursor is None or (limit is not None and len(entries) >= limit):
            return History(commits=tuple(entries[:limit]), missing=tuple(missing))
        query = replace(query, start=None, after=page.cursor)


async def _patches(clew: Source, address: Address, numbers: set[int]) -> dict[int, Difference]:
    # What was before a commit is known from all that lie before it.
    if not numbers:
        return {}
    found: dict[int, Difference] = {}
    differing = DiffFold(address, Moment(n=0), NOW)
    async for recorded in clew.histories.after(address, 0):
        try:
            differing.add(recorded)
        except Corrupt:
            break  # from here on it cannot be told what changed
        if recorded.commit.n in numbers:
            found[recorded.commit.n] = differing.answer()
        if recorded.commit.n >= max(numbers):
            break
        differing.turn()
    return found
