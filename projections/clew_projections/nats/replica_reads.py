"""Reads from replicas, up to a sequence that the leader is known to have.

A lagging replica has the beginning of a stream and lacks its end. So the messages it returns are right, and only the
leader can tell that there are no more.
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
"""Retries at a replica for messages that it lacks, before the leader is asked."""
PAUSE: Final = 0.01
"""Seconds before the first retry; each further pause is longer by as much."""


async def pages(
    js: Reads, stream: str, subject: str, seq: int, last: int, *, limit: int = PAGE
) -> AsyncGenerator[list[StoredMessage], None]:
    """Yield messages on a subject from a sequence on, page by page, at least up to ``last``.

    ``last`` is the leader's last sequence when reading began. The last page may contain later messages, and reading
    ends before ``last`` only if the leader has nothing left. ``limit`` is the size of a page.

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
            stored = await js.from_leader(stream, {"seq": max(seq, 1), "next_by_subj": subject})
            if stored is None:
                return
            page = [stored]
        yield page
        seq = page[-1].seq + 1


async def page(js: Reads, stream: str, subject: str, seq: int, last: int, *, limit: int = PAGE) -> list[StoredMessage]:
    """Read the first page of :func:`pages`; empty if there is none.

    Raises:
        Unavailable: the stream does not answer.
    """
    async with aclosing(pages(js, stream, subject, seq, last, limit=limit)) as all_pages:
        async for first in all_pages:
            return first
    return []


async def whole(
    js: Reads, stream: str, subject: str, *, seq: int = 1, limit: int = PAGE
) -> AsyncGenerator[list[StoredMessage], None]:
    """Yield all messages on a subject that the leader has now, page by page, from a sequence on.

    The subject may have wildcards.

    Raises:
        Unavailable: the stream does not answer.
    """
    newest = await js.newest_at_leader(stream, subject, 0)
    if newest is not None:
        async with aclosing(pages(js, stream, subject, seq, newest.seq, limit=limit)) as all_pages:
            async for messages in all_pages:
                yield messages


async def until(
    js: Reads, stream: str, subject: str, seq: int, last: int, *, limit: int = PAGE
) -> AsyncIterator[StoredMessage]:
    """Yield messages on a subject from a sequence on, at least up to ``last``, which the leader is known to have.

    ``limit`` is the size of a page.

    Raises:
        Unavailable: the stream does not answer, or lost the message at ``last`` in the meantime.
    """
    async with aclosing(pages(js, stream, subject, seq, last, limit=limit)) as all_pages:
        async for messages in all_pages:
            for stored in messages:
                seq = stored.seq + 1
                yield stored
    if seq <= last:
        raise Unavailable(f"messages of {stream} on {subject} were removed during a read", code="log_changed")


async def before(js: Reads, stream: str, subject: str, seq: int) -> StoredMessage | None:
    """Read the last message on an exact subject before the one at ``seq``, which the leader is known to have.

    Raises:
        Unavailable: the stream does not answer, or lost that message in the meantime.
    """
    latest = await js.newest_until(stream, subject, seq - 1)
    following = latest.seq + 1 if latest is not None else 1
    at_leader = await js.from_leader(stream, {"seq": following, "next_by_subj": subject})
    if at_leader is None or at_leader.seq >= seq:
        return latest
    # The replica lags behind ``seq``. From its position on, only a forward read is possible.
    latest = at_leader
    async for stored in until(js, stream, subject, at_leader.seq + 1, seq):
        if stored.seq >= seq:
            break
        latest = stored
    return latest
