"""Reading up to what the leader is known to have: whichever replica answers, and however far behind it is.

A replica that is behind has the beginning of a stream, and its end is missing. So what it has is right, that it has
nothing more says nothing, and whoever leads has the last word on that.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Final

from clew_events.errors import Unavailable
from clew_projections.nats.stream_messages import StoredMessage
from clew_projections.nats.stream_reads import PAGE, Reads

PATIENCE: Final = 3
"""How often a replica is asked again for what it does not have, before the leader is."""
PAUSE: Final = 0.01
"""Seconds to wait after the first time, and as much longer after each time."""


async def pages(
    js: Reads, stream: str, subject: str, seq: int, last: int, *, limit: int = PAGE
) -> AsyncGenerator[list[StoredMessage], None]:
    """Messages on a subject from a sequence on, page by page, up to ``last`` at least.

    ``last`` is what the leader had when reading began. What was stored since may be on the last page too, and reading
    ends before it only if the leader has nothing left. ``limit`` is how many are asked for at a time.

    Raises:
        Unavailable: the stream does not answer.
    """
    late = 0
    while seq <= last:
        page, _ = await js.after(stream, subject, seq, limit)
        if not page and late < PATIENCE:
            late += 1
            await asyncio.sleep(PAUSE * late)
            continue
        if not page:
            found = await js.from_leader(stream, {"seq": max(seq, 1), "next_by_subj": subject})
            if found is None:
                return
            page = [found]
        yield page
        seq = page[-1].seq + 1


async def page(js: Reads, stream: str, subject: str, seq: int, last: int, *, limit: int = PAGE) -> list[StoredMessage]:
    """The first of these pages; nothing if there is none.

    Raises:
        Unavailable: the stream does not answer.
    """
    async with aclosing(pages(js, stream, subject, seq, last, limit=limit)) as found:
        async for each in found:
            return each
    return []


async def whole(
    js: Reads, stream: str, subject: str, *, limit: int = PAGE
) -> AsyncGenerator[list[StoredMessage], None]:
    """All messages on a subject that the leader has by now, page by page. The subject may have wildcards.

    Raises:
        Unavailable: the stream does not answer.
    """
    newest = await js.newest_at_leader(stream, subject, 0)
    if newest is not None:
        async with aclosing(pages(js, stream, subject, 1, newest.seq, limit=limit)) as found:
            async for each in found:
                yield each


async def until(
    js: Reads, stream: str, subject: str, seq: int, last: int, *, limit: int = PAGE
) -> AsyncIterator[StoredMessage]:
    """Messages on a subject from a sequence on, up to the one at ``last`` at least, which the leader is known to have.

    ``limit`` is how many are asked for at a time.

    Raises:
        Unavailable: the stream does not answer, or lost the message in the meantime.
    """
    async with aclosing(pages(js, stream, subject, seq, last, limit=limit)) as found:
        async for each in found:
            for stored in each:
                seq = stored.seq + 1
                yield stored
    if seq <= last:
        raise Unavailable(f"what {stream} had on {subject} went away while it was read", code="log_changed")


async def before(js: Reads, stream: str, subject: str, seq: int) -> StoredMessage | None:
    """The last message on an exact subject before the one at ``seq``, which the leader is known to have.

    Raises:
        Unavailable: the stream does not answer, or lost that message in the meantime.
    """
    found = await js.newest_until(stream, subject, seq - 1)
    following = found.seq + 1 if found is not None else 1
    at_leader = await js.from_leader(stream, {"seq": following, "next_by_subj": subject})
    if at_leader is None or at_leader.seq >= seq:
        return found
    # The replica is behind even there. Only forwards can be read on from where it is.
    found = at_leader
    async for each in until(js, stream, subject, at_leader.seq + 1, seq):
        if each.seq >= seq:
            break
        found = each
    return found
