"""What may be asked, as it is put on the wire at ``clew.query.<tenant>.<query>``."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, field

from clew_events.checkpoint_messages import GetCheckpoint, GetProof, ListCheckpoints
from clew_events.ids import CURSOR_PATTERN, MessageId, ThreadId
from clew_events.list_query import ListThreads
from clew_events.requests import Request

Consistency = Literal["strong", "eventual"]
Order = Literal["asc", "desc"]
Limit = Annotated[int, Meta(ge=1, le=100)]
Version = Annotated[int, Meta(ge=1)]
AsOf = int | datetime
"""A moment: a commit's number up to 999,999,999; from there on Unix seconds; or a time with its offset."""
Instant = int | datetime
"""A time with its offset, or Unix seconds."""
Cursor = Annotated[str, Meta(pattern=CURSOR_PATTERN)]
EventType = Literal[
    "ThreadCreated",
    "MetadataUpdated",
    "ToolResourcesUpdated",
    "MessageAdded",
    "MessageMetadataUpdated",
    "MessageDeleted",
    "ThreadDeleted",
]


class GetThread(Request, frozen=True, kw_only=True):
    """A thread as it is.

    ``strong`` (the default) is never behind the log; ``eventual`` answers from memory or the bucket as they are.
    ``at_least`` asks for a state that contains the thread's commit of that number, whatever the consistency.
    """

    thread_id: ThreadId
    consistency: Consistency = "strong"
    at_least: Version | None = None


class ListMessages(Request, frozen=True, kw_only=True):
    """A page of a thread's messages, by default the newest first. ``after`` and ``before`` are message ids."""

    thread_id: ThreadId
    limit: Limit = 20
    order: Order = "desc"
    after: str | None = None
    before: str | None = None
    consistency: Consistency = "strong"
    at_least: Version | None = None


class GetMessage(Request, frozen=True, kw_only=True):
    """One message as it is."""

    thread_id: ThreadId
    message_id: MessageId
    consistency: Consistency = "strong"
    at_least: Version | None = None


class GetHistory(Request, frozen=True, kw_only=True):
    """A thread's commits, by default the oldest first; a page of at most ``limit``.

    ``after`` and ``before`` are cursors, ids of entries, as seen in the order asked for; the number of a commit will
    do, and takes longer to find. ``start`` is the number of the first commit instead of ``after``. ``types`` are
    the events of which a commit has one at least. ``actor`` is one, or with a ``*`` at its end all that begin so.
    ``since`` and ``until`` are inclusive: times with their offset, or Unix seconds, which are whole seconds.
    """

    thread_id: ThreadId
    start: Version | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    order: Order = "asc"
    after: Cursor | None = None
    before: Cursor | None = None
    types: tuple[EventType, ...] = ()
    actor: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    since: Instant | None = None
    until: Instant | None = None


class GetStateAt(Request, frozen=True, kw_only=True):
    """A thread as it was after commit ``n``, at the moment ``time``, or ``as_of`` either: exactly one of the three.

    ``as_of`` is a commit's number, a time or Unix seconds, and unlike ``time`` none that is still to come.
    """

    thread_id: ThreadId
    n: Version | None = None
    time: datetime | None = None
    as_of: AsOf | None = None


class GetFeed(Request, frozen=True, kw_only=True):
    """The commits of all of a tenant's threads, as the log took them; with ``desc`` the last first.

    ``after`` is the ``id`` of an entry or the ``next`` of a page, which say how far a reader has come, for ever; or
    ``latest``, for the place after everything there is. ``types`` and ``actor`` are as in the history of one thread.
    ``since`` and ``until`` are inclusive, and about when the log took a commit.
    """

    after: str | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    order: Order = "asc"
    types: tuple[EventType, ...] = ()
    actor: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    thread_id: ThreadId | None = None
    since: Instant | None = None
    until: Instant | None = None


class ListMessagesAt(Request, frozen=True, kw_only=True):
    """A page of a thread's messages as they were ``as_of`` a moment. ``after`` and ``before`` are message ids."""

    thread_id: ThreadId
    as_of: AsOf
    limit: Limit = 20
    order: Order = "desc"
    after: str | None = None
    before: str | None = None


class GetMessageAt(Request, frozen=True, kw_only=True):
    """One message as it was ``as_of`` a moment."""

    thread_id: ThreadId
    message_id: MessageId
    as_of: AsOf


class GetDifference(Request, frozen=True, kw_only=True):
    """What changed in a thread after the moment ``from`` (0, the default: before its beginning) up to ``to`` (now)."""

    thread_id: ThreadId
    since: AsOf = field(name="from", default=0)
    until: AsOf | None = field(name="to", default=None)


class GetBlame(Request, frozen=True, kw_only=True):
    """Who last set each part of a thread, by now or ``as_of`` a moment."""

    thread_id: ThreadId
    as_of: AsOf | None = None


Query = (
    GetThread
    | ListThreads
    | ListMessages
    | GetMessage
    | GetHistory
    | GetStateAt
    | GetFeed
    | ListMessagesAt
    | GetMessageAt
    | GetDifference
    | GetBlame
    | ListCheckpoints
    | GetCheckpoint
    | GetProof
)
