"""``clew replay --follow``: a tenant's commits as they happen, none missed and none twice."""

from __future__ import annotations

from contextlib import aclosing
from typing import Final

import click
import msgspec

from clew_events.client.following import followed
from clew_events.errors import Unavailable
from clew_events.queries import GetFeed
from clew_events.replies import Feed, FeedEntry
from clew_services import compose
from clew_services.cli import telling
from clew_services.cli.display import printable

_PAGE: Final = 500


async def follow(clew: compose.Clew, tenant: str, thread: str | None, after: str, *, as_json: bool) -> None:
    """Print a tenant's commits, or one thread's, after a cursor and on as they happen, until interrupted.

    While NATS does not answer it waits, and says so once on standard error.

    Raises:
        Invalid: the cursor is none of this feed.
    """
    away = False

    def wait(silence: Unavailable) -> None:
        nonlocal away
        if not away:
            click.echo(f"clew: waiting: {printable(silence.message)} [{silence.code}]", err=True)
        away = True

    async def ask(query: GetFeed) -> Feed:
        nonlocal away
        page = await clew.reader.feed(tenant, query)
        away = False
        return page

    query = GetFeed(after=after, limit=_PAGE, thread_id=thread)
    async with aclosing(followed(clew.nc, tenant, ask, query, waiting=wait)) as entries:
        async for entry in entries:
            _print(entry, as_json=as_json)


def _print(entry: FeedEntry, *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(entry))
    elif entry.commit is not None:
        click.echo(f"{printable(entry.commit.thread)} {telling.one_line(entry.commit, entry.hash, exact=True)}")
    elif entry.fault is not None:
        click.echo(f"shard {entry.position.shard}, sequence {entry.position.seq}: {printable(entry.fault.message)}")
