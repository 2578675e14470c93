"""Processor time of the index for a commit: ``python -m bench.indexing``. The log is in memory, and the file on disk.

Batches of 30 commits are what four shards polled one by one have under a load of 1,200 commits a second, 120 what they
have together, and 500 those of a rebuild. What else the machine does only adds to a figure, so the lowest is given.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import click

from bench.lane import SHARDS
from clew_events import ids
from clew_events.codec import encode
from clew_events.commit import FORMAT, Commit
from clew_events.content import Message, Text, ToolResources
from clew_events.events import Event, ItemAdded, ThreadCreated
from clew_events.subjects import Address, event_subject, shard_of
from clew_projections.history.histories import Histories
from clew_projections.indexer.generation_file import Batch, IndexGeneration
from clew_projections.nats.stream_messages import StoredMessage

BATCHES = (30, 120, 500)
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
TENANT = "bench"


def log(threads: int, commits: int) -> list[tuple[int, StoredMessage]]:
    """So many threads with a message each, and as many more commits, each of which adds one to the next thread."""
    stored: list[tuple[int, StoredMessage]] = []
    heads: dict[str, str] = {}
    for number in range(threads + commits):
        thread, n = ids.derive_id("thread_", TENANT, str(number % threads)), number // threads + 1
        said = Message(role="user", content=(Text("How warm is it?"),), metadata={})
        events: tuple[Event, ...] = (ItemAdded(item=ids.item_id(n, thread), ordinal=n, message=said),)
        if n == 1:
            created = ThreadCreated(metadata={"user": "ada", "topic": "weather"}, tool_resources=ToolResources())
            events = (created, *events)
        commit = Commit(
            v=FORMAT,
            id=ids.derive_id("cmd_", str(number)),
            tenant=TENANT,
            thread=thread,
            n=n,
            at=BEGIN + timedelta(milliseconds=number),
            actor="bench",
            by="nats",
            command="CreateThread" if n == 1 else "AddMessage",
            prev=heads.get(thread),
            events=events,
        )
        encoded = encode(commit, ["salt"] * (len(events) + 1))
        heads[thread] = encoded.hash
        shard = shard_of(thread, SHARDS)
        subject = event_subject(shard, Address(TENANT, thread))
        stored.append((shard, StoredMessage(number + 1, subject, encoded.body, {})))
    return stored


async def spend(index: IndexGeneration, stored: list[tuple[int, StoredMessage]], size: int) -> float:
    """Microseconds of processor time a commit of taking these in batches of a size."""
    started = time.process_time()
    for start in range(0, len(stored), size):
        some = stored[start : start + size]
        await index.take(Batch(some, {shard: each.seq for shard, each in some}))
    return (time.process_time() - started) / len(stored) * 1e6


async def indexing(threads: int, size: int) -> tuple[float, float]:
    """What new threads cost, and messages added to them."""
    stored = log(threads, threads)
    with TemporaryDirectory(prefix="clew-bench-") as folder:
        histories = cast("Histories", None)  # asked of restored threads alone
        index = await IndexGeneration.open(Path(folder) / "index.db", histories)
        try:
            return await spend(index, stored[:threads], size), await spend(index, stored[threads:], size)
        finally:
            await index.close()


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--threads", default=1_500, show_default=True)
@click.option("--rounds", default=8, show_default=True)
def main(*, threads: int, rounds: int) -> None:
    """Measure what a commit costs the index, in microseconds of processor time."""
    for size in BATCHES:
        runs = [asyncio.run(indexing(threads, size)) for _ in range(rounds)]
        created, added = (min(each) for each in zip(*runs, strict=True))
        click.echo(f"batches of {size:3}: a new thread {created:5.1f}, a message more {added:5.1f}")


if __name__ == "__main__":
    main()
