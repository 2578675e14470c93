"""How far a machine's index is behind the log, for metrics, for ``clew status`` and for whoever waits."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Final

from msgspec import Struct

from clew_events.subjects import event_stream
from clew_projections.index.agreeing import ends
from clew_projections.index.folder import Folder
from clew_projections.index.ledger import notes
from clew_projections.jetstream import JetStream

STORED_AT: Final = "Nats-Time-Stamp"


class IndexFreshness(Struct, frozen=True, kw_only=True):
    """The index of this machine as it is now.

    ``generation`` is 0 where there is none. ``behind`` counts commits in the log that are not in it, and ``seconds`` is
    how long the first of these has been there. ``aside`` counts threads that are left out because their history cannot
    be folded. ``bytes`` is what it takes on disk.
    """

    generation: int
    ready: bool
    behind: int
    seconds: float
    aside: int
    bytes: int


async def freshness(js: JetStream, shards: int, folder: Folder) -> IndexFreshness:
    """Look at the index, and at the log.

    Raises:
        Unavailable: JetStream does not answer.
    """
    pointer = folder.pointer()
    generation = pointer.generation if pointer is not None else 0
    noted = await asyncio.to_thread(notes, folder.file(generation))
    reached = {place.shard: place.seq for place in noted.places}
    late = {shard: end - reached.get(shard, 0) for shard, end in (await ends(js, shards)).items()}
    waiting = [await _since(js, shard, reached.get(shard, 0)) for shard, behind in late.items() if behind > 0]
    return IndexFreshness(
        generation=generation,
        ready=pointer is not None and pointer.ready,
        behind=sum(max(0, behind) for behind in late.values()),
        seconds=max(waiting, default=0.0),
        aside=len(noted.aside),
        bytes=folder.size(generation),
    )


async def _since(js: JetStream, shard: int, seq: int) -> float:
    """Seconds since the first commit behind a sequence was stored."""
    found, _ = await js.after(event_stream(shard), ">", seq + 1, 1)
    if not found:
        return 0.0
    return max(0.0, (datetime.now(UTC) - datetime.fromisoformat(found[0].headers[STORED_AT])).total_seconds())
