"""How far a machine's index is behind the log, for metrics, for ``clew status`` and for whoever waits."""

from __future__ import annotations

import asyncio
from datetime import datetime

from msgspec import Struct

from clew_projections.consistency import index_watch
from clew_projections.index.index_folder import IndexFolder
from clew_projections.index.log_agreement import ends
from clew_projections.index.notes import notes
from clew_projections.nats.jetstream import JetStream
from clew_projections.projector.lag import lag_seconds


class IndexFreshness(Struct, frozen=True, kw_only=True):
    """The index of this machine as it is now.

    ``generation`` is 0 where there is none. ``behind`` counts commits in the log that are not in it, and ``seconds`` is
    how long the first of these has been there. ``aside`` counts threads that are left out because their history cannot
    be folded. ``bytes`` is what it takes on disk. ``drift`` counts what is known to differ from the log, and everything
    that was there at ``since`` has been compared; both are nothing until that has begun, or has happened once.
    """

    generation: int
    ready: bool
    behind: int
    seconds: float
    aside: int
    bytes: int
    drift: int | None = None
    since: datetime | None = None


async def freshness(js: JetStream, shards: int, folder: IndexFolder) -> IndexFreshness:
    """Look at the index, and at the log.

    Raises:
        Unavailable: JetStream does not answer.
    """
    pointer = folder.pointer()
    generation = pointer.generation if pointer is not None else 0
    known = index_watch.read(folder.path, generation)
    noted = await asyncio.to_thread(notes, folder.file(generation))
    reached = {place.shard: place.seq for place in noted.places}
    now = await ends(js, shards)
    return IndexFreshness(
        generation=generation,
        ready=pointer is not None and pointer.ready,
        behind=sum(max(0, end - reached.get(shard, 0)) for shard, end in now.items()),
        seconds=await lag_seconds(js, reached, now),
        aside=len(noted.aside),
        bytes=folder.size(generation),
        drift=known.drift if known is not None else None,
        since=known.since if known is not None else None,
    )
