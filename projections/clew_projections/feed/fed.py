"""A commit on its way through the feed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Final, NamedTuple

from clew_events.commit import Commit, Position, Recorded, body_hash
from clew_events.errors import Corrupt
from clew_events.subjects import address_of
from clew_projections.histories.history import read
from clew_projections.jetstream.messages import Stored

STAMP: Final = "Nats-Time-Stamp"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Fed(NamedTuple):
    """A stored commit, when the log took it (in microseconds since 1970), and what it says.

    What cannot be read has a ``fault`` in place of its commit: it is in the log, so it is in the feed.
    """

    stored_at: int
    shard: int
    seq: int
    thread: str
    body: bytes
    hash: str
    trace_id: str | None
    commit: Commit | None
    fault: Corrupt | None

    @property
    def position(self) -> Position:
        """Where it is in the log."""
        return Position(self.shard, self.seq)

    @property
    def time(self) -> datetime:
        """When the log took it."""
        return _EPOCH + timedelta(microseconds=self.stored_at)


def fed(stored: Stored, shard: int) -> Fed:
    """What a stream holds, as the feed gives it."""
    when, thread = microseconds(stored.headers[STAMP]), address_of(stored.subject).thread
    try:
        recorded = _own(stored, shard)
    except Corrupt as fault:
        return Fed(when, shard, stored.seq, thread, stored.body, body_hash(stored.body), None, None, fault)
    return Fed(when, shard, stored.seq, thread, stored.body, recorded.hash, recorded.trace_id, recorded.commit, None)


def _own(stored: Stored, shard: int) -> Recorded:
    recorded, owner = read(stored, shard), address_of(stored.subject)
    if (recorded.commit.tenant, recorded.commit.thread) != owner:
        raise Corrupt(
            f"sequence {stored.seq} of shard {shard}: a commit of another thread stands where those of "
            f"{owner.thread} do",
            code="misplaced_commit",
        )
    return recorded


def microseconds(stamp: str) -> int:
    """A time as the server writes it, RFC 3339 in UTC with up to nine decimals, in microseconds since 1970."""
    second, _, fraction = stamp.removesuffix("Z").partition(".")
    return _second(second) * 1_000_000 + int(fraction[:6].ljust(6, "0"))


def micros_of(moment: datetime) -> int:
    """A moment in microseconds since 1970."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


@lru_cache(1024)
def _second(text: str) -> int:
    return int(datetime.fromisoformat(text + "+00:00").timestamp())
