"""Selection of the threads to prove: all in the order of the log, or a random sample, in constant memory.

The guard of a thread's first commit is 0, so a walk through the log meets every thread once, at its first commit. A
history without its beginning is not met: that is damage to the log, which ``clew verify`` finds.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from typing import Final

import msgspec
from msgspec import Struct

from clew_events.codec import UNREADABLE
from clew_events.subjects import Address, address_of, event_stream
from clew_projections.history.log_reads import LogReads
from clew_projections.integrity.verify import EVERYTHING
from clew_projections.nats import replica_reads
from clew_projections.nats.stream_messages import EXPECTED, StoredMessage


class _Numbering(Struct, frozen=True):
    n: int


_NUMBERED: Final = msgspec.json.Decoder(_Numbering)


def begins(stored: StoredMessage) -> bool:
    """Whether this is a thread's first commit, or may be: it has no guard and is unreadable."""
    guard = stored.headers.get(EXPECTED)
    if guard is not None:
        return guard == "0"
    try:
        return _NUMBERED.decode(stored.body).n <= 1
    except UNREADABLE:
        return True


async def sample_threads(
    js: LogReads, shards: int, count: int, seed: int, tenant: str | None = None
) -> AsyncIterator[Address]:
    """Draw at most ``count`` different threads by commits: a thread with more commits is more likely.

    The same seed draws the same threads from the same log.

    Raises:
        Unavailable: the log does not answer.
    """
    draw = random.Random(seed)  # noqa: S311 - to be repeatable, not secret
    reaches = [await js.extent(shard) for shard in range(shards)]
    met: set[Address] = set()
    for _ in range(20 * count):
        if len(met) >= count or not any(reach.messages for reach in reaches):
            return
        (shard,) = draw.choices(range(shards), [reach.messages for reach in reaches])
        seq = draw.randint(max(1, reaches[shard].first_seq), max(1, reaches[shard].last_seq))
        for stored in await replica_reads.page(
            js, event_stream(shard), EVERYTHING, seq, reaches[shard].last_seq, limit=1
        ):
            owner = address_of(stored.subject)
            if owner not in met and tenant in {None, owner.tenant}:
                met.add(owner)
                yield owner
