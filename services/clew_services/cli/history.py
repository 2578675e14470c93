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
from clew_events.subjects import TENANT, Address
from clew_projections.audit.diff import DiffFold
from clew_projections.audit.moments import NOW, Moment
from clew_services.cli import commit_lines, options
from clew_services.cli.exit import EXIT_CODES
from clew_services.cli.parts import Source, consult
from clew_services.cli.terminal import print_json, show, write_json_lines

_PAGE = 1000
_TYPES = get_args(EventType)


@click.command("history")
@options.maybe_thread
@click.option("--start", type=click.IntRange(min=1), help="The first commit to show.")
@click.option("-n", "--limit", type=click.IntRange(min=1), help="The most commits to show.")
@click.option("--reverse", is_flag=True, help="Show the newest first.")
@click.option("-p", "--patch", is_flag=True, help="Show what each commit changed: old values with -, new ones with +.")
@click.option("--type", "types", type=click.Choice(_TYPES), multiple=True, help="Only commits with such an event.")
@click.option("--actor", help="Only commits by this actor; a * at the end matches any ending.")
@click.option("--by", help="Only commits by this authenticated caller, such as http:KEY_ID; a * matches any ending.")
@click.option("--since", type=options.TIME, help="Only commits at or after this time.")
@click.option("--until", type=options.TIME, help="Only commits at or before this time.")
@click.option("--stored", is_flag=True, help="Print the stored bodies, byte for byte, and nothing else.")
@options.pack
@options.query_options
def command(
    *,
    thread: str | None,
    start: int | None,
    limit: int | None,
    reverse: bool,
    patch: bool,
    types: Sequence[EventType],
    actor: str | None,
    by: str | None,
    since: datetime | None,
    until: datetime | None,
    stored: bool,
    pack: Path | None,
    tenant: str,
    nats: str,
    as_json: bool,
) -> None:
    """Show the commits of a thread, one on a line, the oldest first by default.

    Without THREAD they are those of the tenant's own history: who set or removed which policy of retention, and who
    placed or released which standing hold.

    Commits that the log has lost are shown as missing in their places; the exit code is then 5.
    """
    address = Address(tenant, thread or TENANT)
    query = GetHistory(
        thread_id=thread,
        start=start,
        limit=min(limit or _PAGE, _PAGE),
        order="desc" if reverse else "asc",
        types=tuple(types),
        actor=actor,
        by=by,
        since=since,
        until=until,
        stored=stored,
    )

    async def read(clew: Source) -> tuple[History, dict[int, Difference]]:
        history = await _all(clew, tenant, query, limit)
        numbers = {entry.commit.n for entry in history.commits} if patch and not as_json else set()
        return history, await _patches(clew, address, numbers)

    history, patches = consult(nats, pack, address, read)
    if as_json:
        print_json(history)
    elif stored:
        for entry in history.commits:
            write_json_lines((entry.stored or "").encode())
    else:
        show(_lines(history, patches, reverse=reverse))
    if history.missing:
        raise click.exceptions.Exit(EXIT_CODES["corrupt"])


def _lines(history: History, patches: dict[int, Difference], *, reverse: bool) -> list[str]:
    shown: dict[int, list[str]] = {gap.first: [commit_lines.format_gap(gap)] for gap in history.missing}
    for entry in history.commits:
        lines = shown.setdefault(entry.commit.n, [])
        lines.append(commit_lines.one_line(entry.commit, entry.hash))
        if (patch := patches.get(entry.commit.n)) is not None:
            lines += [*commit_lines.change_lines(patch), ""]
    return [line for n in sorted(shown, reverse=reverse) for line in shown[n]]


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
    # The state before a commit is the fold of all earlier ones.
    if not numbers:
        return {}
    patches: dict[int, Difference] = {}
    fold = DiffFold(address, Moment(n=0), NOW)
    async for recorded in clew.histories.after(address, 0):
        try:
            fold.add(recorded)
        except Corrupt:
            break  # the changes of later commits are unknown
        if recorded.commit.n in numbers:
            patches[recorded.commit.n] = fold.answer()
        if recorded.commit.n >= max(numbers):
            break
        fold.turn()
    return patches
