"""The lag of a reader of the log, in seconds."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime

from clew_events.subjects import event_stream
from clew_projections.nats import replica_reads
from clew_projections.nats.jetstream import JetStream
from clew_projections.nats.stream_messages import STORED_AT


async def lag_seconds(js: JetStream, reached: Mapping[int, int], ends: Mapping[int, int]) -> float:
    """Return the age in seconds of the oldest commit that a reader does not have; 0 if it has all.

    By shard, ``reached`` is the reader's position, and ``ends`` is the last sequence of the log.

    Raises:
        Unavailable: JetStream does not answer.
    """
    behind = [shard for shard, end in ends.items() if end > reached.get(shard, 0)]
    ages = (_age_of_next(js, shard, reached.get(shard, 0), ends[shard]) for shard in behind)
    return max(await asyncio.gather(*ages), default=0.0)


async def _age_of_next(js: JetStream, shard: int, seq: int, end: int) -> float:
    page = await replica_reads.page(js, event_stream(shard), ">", seq + 1, end, limit=1)
    if not page:
        return 0.0
    return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(page[0].headers[STORED_AT])).total_seconds())
