"""The check that an index file follows from this log: the last indexed commit of each shard is unchanged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from clew_events.commit import body_hash
from clew_events.subjects import event_stream
from clew_projections.index.database import Unusable
from clew_projections.index.notes import Place
from clew_projections.nats.jetstream import JetStream, stream_state


async def ends(js: JetStream, shards: int) -> dict[int, int]:
    """Read the last sequence of every shard from its leader.

    Raises:
        Unavailable: JetStream does not answer.
    """
    return {shard: (await stream_state(js, event_stream(shard))).last_seq for shard in range(shards)}


async def check_agrees(js: JetStream, shards: int, marks: Mapping[int, int], places: Sequence[Place]) -> None:
    """Check that a file with these marks and places follows from this log.

    The hash detects a log that was restored from a backup and has gone on since. A commit that is gone from the log, as
    by an erasure, is not checked.

    Raises:
        Unusable: it does not follow from this log; the message says why.
        Unavailable: JetStream does not answer.
    """
    for shard, mark in marks.items():
        if not 0 <= shard < shards:
            raise Unusable(f"it knows of a shard {shard}, and the log has {shards}")
        if mark > (end := (await stream_state(js, event_stream(shard))).last_seq):
            raise Unusable(
                f"it goes to sequence {mark} of shard {shard}, and the log ends at {end}: another log, or older"
            )
    for place in places:
        stored = await js.next_at_leader(event_stream(place.shard), place.seq)
        if stored is not None and stored.seq == place.seq and body_hash(stored.body) != place.hash:
            raise Unusable(f"the log has another commit at sequence {place.seq} of shard {place.shard}: another log")
