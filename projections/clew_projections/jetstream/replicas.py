"""Reading on until a message that is known to be there: whichever replica answers, and however far behind it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from clew_events.errors import Unavailable
from clew_projections.jetstream.messages import Stored
from clew_projections.jetstream.reading import PAGE
from clew_projections.jetstream.reads import Reads

PATIENCE: Final = 3
"""How often a replica is asked for what it does not have, before the leader is asked for it message by message."""
PAUSE: Final = 0.01
"""Seconds to wait after the first time, and as much longer after each time."""


async def until(
    js: Reads, stream: str, subject: str, seq: int, last: int, *, limit: int = PAGE
) -> AsyncIterator[Stored]:
    """Messages on a subject from a sequence on, up to the one at ``last`` at least, which the leader is known to have.

    ``limit`` is how many are asked for at a time.

    Raises:
        Unavailable: the stream does not answer, or lost the message in the meantime.
    """
    late = 0
    while seq <= last:
        if late < PATIENCE:
            page, _ = await js.after(stream, subject, seq, limit)
        else:
            page = [await _from_leader(js, stream, subject, seq)]
        for stored in page:
            yield stored
        if page:
            seq = page[-1].seq + 1
        else:
            late += 1
            await asyncio.sleep(PAUSE * late)


async def _from_leader(js: Reads, stream: str, subject: str, seq: int) -> Stored:
    found = await js.from_leader(stream, {"seq": max(seq, 1), "next_by_subj": subject})
    if found is None:
        raise Unavailable(f"what {stream} had on {subject} went away while it was read", code="log_changed")
    return found
