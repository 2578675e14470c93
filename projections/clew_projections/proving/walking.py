"""Which threads to prove: all in the order in which they came, or some at random. Memory stays the same for any number.

A thread's first commit was guarded with "nothing before it", so a walk through the log meets every thread once, where
it began. A history whose beginning was taken out is not met: that is damage to the log itself, which ``clew verify``
finds.
"""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from clew_events.subjects import Address, address_of, event_stream
from clew_projections.jetstream import EXPECTED, JetStream, Stored
from clew_projections.proof.reading import extent, pages


def begins(stored: Stored) -> bool:
    """Whether this is a thread's first commit, or, if it carries no guard, may be."""
    return stored.headers.get(EXPECTED, "0") == "0"


async def beginnings(js: JetStream, shard: int, tenant: str | None = None) -> AsyncGenerator[list[Address], None]:
    """The threads of a shard, or a tenant's in it, page by page, in the order in which they came.

    Raises:
        Unavailable: the log does not answer.
    """
    reach = await extent(js, shard)
    async with aclosing(pages(js, shard, max(1, reach.first_seq), reach.last_seq)) as found:
        async for page in found:
            # A commit without its guard was not written by Clew, and may not be its thread's first.
            owners = dict.fromkeys(address_of(each.subject) for each in page if begins(each))
            yield [each for each in owners if tenant is None or each.tenant == tenant]


async def sampled(
    js: JetStream, shards: int, count: int, seed: int, tenant: str | None = None
) -> AsyncIterator[Address]:
    """At most so many different threads, drawn by commits: a thread with more of them is more likely to be met.

    The same seed draws the same threads as long as the log is the same.

    Raises:
        Unavailable: the log does not answer.
    """
    draw = random.Random(seed)  # noqa: S311 - to be repeatable, not secret
    reaches = [await extent(js, shard) for shard in range(shards)]
    met: set[Address] = set()
    for _ in range(20 * count):
        if len(met) >= count or not any(reach.messages for reach in reaches):
            return
        (shard,) = draw.choices(range(shards), [reach.messages for reach in reaches])
        seq = draw.randint(max(1, reaches[shard].first_seq), max(1, reaches[shard].last_seq))
        found, _ = await js.after(event_stream(shard), ">", seq, 1)
        for stored in found:
            owner = address_of(stored.subject)
            if owner not in met and tenant in {None, owner.tenant}:
                met.add(owner)
                yield owner
