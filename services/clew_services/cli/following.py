"""``clew replay --follow``: a tenant's commits as they happen, none missed and none twice."""

from __future__ import annotations

import asyncio
import contextlib

import click
import msgspec
from nats.aio.msg import Msg

from clew_events.queries import GetFeed
from clew_events.replies import FeedEntry
from clew_events.subjects import LIVE
from clew_services import compose
from clew_services.cli import telling
from clew_services.cli.display import printable

_PAGE = 1000
_LOOK = 5.0
"""Seconds after which the log is asked in any case: what is told over core NATS may be lost."""


async def follow(clew: compose.Clew, tenant: str, thread: str | None, *, as_json: bool) -> None:
    """Print a tenant's commits, or one thread's, from now on, until interrupted."""
    told = asyncio.Event()

    async def hear(_: Msg) -> None:
        told.set()

    subscription = await clew.nc.subscribe(f"{LIVE}.evt.*.{tenant}.{thread or '*'}", cb=hear)
    try:
        query = GetFeed(after="latest", limit=_PAGE, thread_id=thread)
        while True:
            told.clear()
            page = await clew.reader.feed(tenant, query)
            for entry in page.data:
                _print(entry, as_json=as_json)
            query = msgspec.structs.replace(query, after=page.next)
            if not page.has_more:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(told.wait(), _LOOK)
    finally:
        await subscription.unsubscribe()


def _print(entry: FeedEntry, *, as_json: bool) -> None:
    if as_json:
        click.echo(msgspec.json.encode(entry))
    elif entry.commit is not None:
        click.echo(f"{printable(entry.commit.thread)} {telling.one_line(entry.commit, entry.hash, exact=True)}")
    elif entry.fault is not None:
        click.echo(f"shard {entry.position.shard}, sequence {entry.position.seq}: {printable(entry.fault.message)}")
