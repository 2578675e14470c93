"""``clew history``."""

from __future__ import annotations

import click

from clew_events.queries import GetHistory
from clew_events.replies import Entry, History
from clew_services import compose
from clew_services.cli import display, options
from clew_services.cli.changes import in_words
from clew_services.cli.outcome import print_json
from clew_services.cli.session import look

_PAGE = 1000


@click.command("history")
@options.thread
@click.option("--start", type=click.IntRange(min=1), default=1, show_default=True, help="The first commit to show.")
@options.asking
def command(*, thread: str, start: int, tenant: str, nats: str, as_json: bool) -> None:
    """Show how a thread came to be what it is: one line per commit, the oldest first."""

    async def read(clew: compose.Clew) -> History:
        return await _all(clew, tenant, thread, start)

    history = look(nats, read)
    if as_json:
        print_json(history)
    else:
        title = ("n", "time", "actor", "command", "what changed", "hash")
        display.rows(title, map(_line, history.commits), right=frozenset({"n"}))


async def _all(clew: compose.Clew, tenant: str, thread: str, start: int) -> History:
    entries: list[Entry] = []
    following: int | None = start
    while following is not None:
        query = GetHistory(thread_id=thread, start=following, limit=_PAGE)
        page = await clew.reader.history(tenant, query)
        entries += page.commits
        following = page.next
    return History(commits=tuple(entries))


def _line(entry: Entry) -> tuple[object, ...]:
    commit = entry.commit
    what = "; ".join(map(in_words, commit.events))
    return commit.n, display.when(commit.at), commit.actor, commit.command, what, entry.hash[:12]
