"""Commits of the feed, and the filter over them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from clew_events.codec import decode
from clew_events.commit import Commit, Position, record_hash
from clew_events.errors import Corrupt, Invalid
from clew_events.ids import is_traceparent
from clew_events.queries import GetFeed
from clew_events.subjects import EVENTS, MAX_SHARDS, Address, address_of, event_subject
from clew_projections.audit.filter import Choice
from clew_projections.audit.moments import first_instant, last_instant
from clew_projections.history.histories import locate_fault
from clew_projections.history.log_reads import LogReads
from clew_projections.nats.stream_messages import TRACE, StoredMessage, stored_at

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SUBJECTS: Final = tuple(event_subject(shard, Address("", "")).removesuffix(".") for shard in range(MAX_SHARDS))
"""What the subjects of a shard begin with."""


class FeedCommit(Struct, frozen=True, gc=False):
    """A stored commit with the time at which the log stored it, in microseconds since 1970.

    An unreadable one has a ``fault`` in place of its commit: it is in the log, so it is in the feed.
    """

    stored_at: int
    shard: int
    seq: int
    thread: str
    body: bytes
    headers: Mapping[str, str]
    commit: Commit | None
    fault: Corrupt | None = None

    @property
    def hash(self) -> str:
        """The hash of its record."""
        return record_hash(self.body)

    @property
    def position(self) -> Position:
        """The position in the log."""
        return Position(self.shard, self.seq)

    @property
    def trace_id(self) -> str | None:
        """The id of the trace that the command belonged to, in 32 hex digits, or None."""
        trace = self.headers.get(TRACE) if self.fault is None else None
        return trace.split("-")[1] if trace is not None and is_traceparent(trace) else None

    @property
    def time(self) -> datetime:
        """The time at which the log stored it."""
        return _EPOCH + timedelta(microseconds=self.stored_at)


def decode_feed_commit(stored: StoredMessage, shard: int) -> FeedCommit:
    """Decode a stored message as a commit of the feed."""
    when, seq, subject, body = stored_at(stored), stored.seq, stored.subject, stored.body
    try:
        commit = decode(body)
        if f"{_SUBJECTS[shard]}{commit.tenant}.{commit.thread}" != subject:
            raise _misplaced(stored)
    except Corrupt as fault:
        thread, where = address_of(subject).thread, locate_fault(fault, seq, shard)
        return FeedCommit(when, shard, seq, thread, body, stored.headers, None, where)
    return FeedCommit(when, shard, seq, commit.thread, body, stored.headers, commit)


def redact(fed: FeedCommit, tenant: str, log: LogReads) -> FeedCommit:
    """Return a tenant's commit without the contents whose erasure was requested since it was read."""
    subject = event_subject(fed.shard, Address(tenant, fed.thread))
    body = log.redact(StoredMessage(fed.seq, subject, fed.body, {})).body
    if body == fed.body:
        return fed
    return replace(fed, body=body, commit=decode(body) if fed.commit is not None else None)


def _misplaced(stored: StoredMessage) -> Corrupt:
    owner = address_of(stored.subject)
    return Corrupt(f"a commit of another thread is on the subject of thread {owner.thread}", code="misplaced_commit")


def micros_of(moment: datetime) -> int:
    """Convert a time to microseconds since 1970."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


class FeedFilter:
    """A reader's filter over a tenant's commits; ``since`` and ``until`` are in microseconds since 1970.

    An unreadable commit matches types and actors, since they are unknown.

    Raises:
        Invalid: a time is not valid, or the end is before the beginning.
    """

    __slots__ = ("_choice", "_descending", "since", "thread", "until")

    def __init__(self, query: GetFeed) -> None:
        self.thread = query.thread_id
        self.since = micros_of(first_instant(query.since, "since")) if query.since is not None else None
        self.until = micros_of(last_instant(query.until, "until")) if query.until is not None else None
        if self.since is not None and self.until is not None and self.until < self.since:
            raise Invalid("Invalid 'until': it is before 'since'.", param="until")
        self._choice = Choice(types=frozenset(query.types), actor=query.actor, by=query.by)
        self._descending = query.order == "desc"

    def subject(self, shard: int, tenant: str) -> str:
        """Return the subjects of a shard to read."""
        return f"{EVENTS}.{shard:02d}.{tenant}.{self.thread or '*'}"

    def is_past(self, fed: FeedCommit) -> bool:
        """Whether this commit and all after it, in the requested order, are outside the requested time."""
        if self._descending:
            return self.since is not None and fed.stored_at < self.since
        return self.until is not None and fed.stored_at > self.until

    def matches(self, fed: FeedCommit) -> bool:
        """Whether a commit of the requested subjects matches."""
        if self.since is not None and fed.stored_at < self.since:
            return False
        if self.until is not None and fed.stored_at > self.until:
            return False
        return fed.commit is None or self._choice.matches(fed.commit)

    def matches_live(self, fed: FeedCommit) -> bool:
        """Whether a commit of any thread of the tenant matches."""
        if self.thread is not None and fed.thread != self.thread:
            return False
        return self.matches(fed)
