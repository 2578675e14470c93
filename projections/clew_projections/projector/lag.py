"""For how long commits have waited for somebody who follows the log."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime

from clew_events.subjects import event_stream
from clew_projections.nats import replica_reads
from clew_projections.nats.jetstream import JetStream
from clew_projections.nats.stream_messages import STORED_AT


async def lag_seconds(js: JetStream, reached: Mapping[int, int], ends: Mapping[int, int]) -> float:
    """Seconds since the oldest commit was stored that somebody has not got to; 0 if there is none.

    By shard, ``reached`` is the sequence up to which they have everything, and ``ends`` is the last one there is.

    Raises:
        Unavailable: JetStream does not answer.
    """
    late = [shard for shard, end in ends.items() if end > reached.get(shard, 0)]
    since = (_since(js, shard, reached.get(shard, 0), ends[shard]) for shard in late)
    return max(await asyncio.gather(*since), default=0.0)


async def _since(js: JetStream, shard: int, seq: int, end: int) -> float:
    found = await replica_reads.page(js, event_stream(shard), ">", seq + 1, end, limit=1)
    if not found:
        return 0.0
    return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(found[0].headers[STORED_AT])).total_seconds())
