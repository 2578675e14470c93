"""``clew replay``: a thread as of a moment, or with ``--follow`` the feed: each commit once, none missed."""

from __future__ import annotations

import contextlib
from contextlib import aclosing
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import click
import msgspec

from clew_events.client.feed import follow_feed
from clew_events.errors import Unavailable
from clew_events.queries import GetFeed, GetStateAt
from clew_events.replies import Feed, FeedEntry, Moment
from clew_events.subjects import Address
from clew_projections.nats.lean_client import LeanClient
from clew_services.cli import commit_lines, options, output
from clew_services.cli.parts import Source, consult, use_parts
from clew_services.cli.terminal import echo, echo_json, line, print_json
from clew_services.cli.thread import moment_facts
from clew_services.queries.reader import Reader

_PAGE: Final = 500


async def follow(nc: LeanClient, reader: Reader, tenant: str, *, thread: str | None, after: str, as_json: bool) -> None:
    """Print a tenant's commits, or one thread's, from after a cursor on, until interrupted.

    Waits while NATS does not answer, and prints that once on standard error.

    Raises:
        Invalid: the cursor is none of this feed's.
    """
    silent = False

    def wait(fault: Unavailable) -> None:
        nonlocal silent
        if not silent:
            echo(f"clew: waiting: {fault.message} [{fault.code}]", err=True)
        silent = True

    async def ask(query: GetFeed) -> Feed:
        nonlocal silent
        page = await reader.feed(tenant, query)
        silent = False
        return page

    query = GetFeed(after=after, limit=_PAGE, thread_id=thread)
    async with aclosing(follow_feed(nc, tenant, ask, query, on_silence=wait)) as entries:
        async for entry in entries:
            _print(entry, as_json=as_json)


def _print(entry: FeedEntry, *, as_json: bool) -> None:
    if as_json:
        echo_json(msgspec.json.encode(entry))
    elif entry.commit is not None:
        echo(line(entry.commit.thread, " ", commit_lines.one_line(entry.commit, entry.hash, exact=True)))
    elif entry.fault is not None:
        echo(f"shard {entry.position.shard}, sequence {entry.position.seq}: {entry.fault.message}")


@click.command("replay")
@options.maybe_thread
@click.option("--at", "--as-of", type=options.MOMENT, help="After commit N, or at a time in ISO 8601.  [default: now]")
@click.option("-f", "--follow", "following", is_flag=True, help="Show commits as they are stored, until interrupted.")
@click.option("--after", help="With --follow, begin after the commit with this id, as --json shows it.  [default: now]")
@options.pack
@options.query_options
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
    """Show a thread as of a moment, folded from its history.

    With --follow, show the commits of all of a tenant's threads, or of THREAD, as they are stored.
    """
    if following:
        if at is not None:
            raise click.UsageError("--follow shows what happens from now on: it does not go with --at")
        if pack is not None:
            raise click.UsageError("--follow shows what happens from now on: it does not go with --pack")
        with contextlib.suppress(KeyboardInterrupt):
            start = after or "latest"
            use_parts(
                nats,
                lambda clew: follow(clew.nc, clew.reader, tenant, thread=thread, after=start, as_json=as_json),
            )
        return
    if after is not None:
        raise click.UsageError("--after goes with --follow")
    if thread is None:
        raise click.UsageError("Missing argument 'THREAD'.")
    query = (
        GetStateAt(thread_id=thread, n=at)
        if isinstance(at, int)
        else GetStateAt(thread_id=thread, time=at or datetime.now(UTC))
    )

    async def fold(clew: Source) -> Moment:
        return await clew.reader.state_at(tenant, query)

    moment = consult(nats, pack, Address(tenant, thread), fold)
    if as_json:
        print_json(moment)
        return
    output.card(moment_facts(thread, moment))
