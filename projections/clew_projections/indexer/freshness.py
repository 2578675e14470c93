"""The freshness of a machine's index, for metrics and ``clew status``."""

from __future__ import annotations

import asyncio
from datetime import datetime

from msgspec import Struct

from clew_projections.consistency import index_watch
from clew_projections.index.index_folder import IndexFolder
from clew_projections.index.notes import ends, notes
from clew_projections.nats.jetstream import JetStream
from clew_projections.projector.lag import lag_seconds


class IndexFreshness(Struct, frozen=True, kw_only=True):
    """The current state of this machine's index.

    ``generation`` is 0 if there is no index. ``behind`` counts commits in the log that it lacks, and ``seconds`` is the
    age of the first of these. ``aside`` counts threads that are left out because their history cannot be folded.
    ``bytes`` is its size on disk. ``drift`` counts known differences from the log, and everything stored at ``since``
    has been compared; both are ``None`` until the proof has begun, or has completed a round.
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
    """Read the freshness of the index.

    Raises:
        Unavailable: JetStream does not answer.
    """
    pointer = folder.pointer()
    generation = pointer.generation if pointer is not None else 0
    known = index_watch.read(folder.path, generation)
    noted = await asyncio.to_thread(notes, folder.file(generation))
    positions = {place.shard: place.seq for place in noted.places}
    log_ends = await ends(js, shards)
    return IndexFreshness(
        generation=generation,
        ready=pointer is not None and pointer.ready,
        behind=sum(max(0, end - positions.get(shard, 0)) for shard, end in log_ends.items()),
        seconds=await lag_seconds(js, positions, log_ends),
        aside=len(noted.aside),
        bytes=folder.size(generation),
        drift=known.drift if known is not None else None,
        since=known.since if known is not None else None,
    )
