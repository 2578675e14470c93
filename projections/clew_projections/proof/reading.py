"""A whole shard read in the order in which it was written.

Reads are direct and match every subject of the stream, which the server answers without looking anything up: measured,
twice what nats-py's own fetch gives, and no consumer is made. A page is asked for while the one before is worked on.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

import msgspec
from msgspec import Struct

from clew_events.subjects import event_stream
from clew_projections.jetstream import replicas
from clew_projections.jetstream.calls import JetStream
from clew_projections.jetstream.messages import Stored

EVERYTHING: Final = ">"
PAGE: Final = 512


class Extent(Struct, frozen=True):
    """How far a shard's stream reaches, and how many messages it holds: fewer than sequences, if any were removed."""

    first_seq: int
    last_seq: int
    messages: int


async def extent(js: JetStream, shard: int) -> Extent:
    """How far a shard reaches at this moment, by its leader.

    Raises:
        Unavailable: JetStream does not answer.
    """
    info = await js.api(f"STREAM.INFO.{event_stream(shard)}")
    return msgspec.convert(info["state"], Extent)


async def pages(js: JetStream, shard: int, first: int, last: int) -> AsyncGenerator[list[Stored], None]:
    """Everything a shard holds from one sequence to another, both included, page by page.

    Raises:
        Unavailable: JetStream does not answer.
    """
    seq = first
    under_way = asyncio.ensure_future(_page(js, shard, seq, last)) if seq <= last else None
    try:
        while under_way is not None:
            page = await under_way
            under_way = None
            if not page:
                return  # the end was removed
            seq = page[-1].seq + 1
            if seq <= last:
                under_way = asyncio.ensure_future(_page(js, shard, seq, last))
            else:
                page = [each for each in page if each.seq <= last]
            if page:
                yield page
    finally:
        if under_way is not None:
            under_way.cancel()


async def _page(js: JetStream, shard: int, seq: int, last: int) -> list[Stored]:
    return await replicas.page(js, event_stream(shard), EVERYTHING, seq, last, limit=PAGE)
