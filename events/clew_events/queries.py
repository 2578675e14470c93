"""Queries, as requested at ``clew.query.<tenant>.<query>``."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from msgspec import Meta, field

from clew_events import events
from clew_events.checkpoint_messages import GetCheckpoint, GetProof, ListCheckpoints
from clew_events.erasures import Status
from clew_events.ids import CURSOR_PATTERN, ErasureId, ItemId, MessageId, ThreadId
from clew_events.list_query import ListDue, ListHolds, ListRetention, ListThreads
from clew_events.requests import Request

Consistency = Literal["strong", "eventual"]
Order = Literal["asc", "desc"]
Limit = Annotated[int, Meta(ge=1, le=100)]
PartLimit = Annotated[int, Meta(ge=1, le=10_000)]
"""How many parts of an answer to give, the newest ones; the answer tells how many it leaves out."""
Version = Annotated[int, Meta(ge=1)]
AsOf = int | datetime
"""A point in a history: a number up to 999,999,999 is a commit's, a larger one is in Unix seconds; or a time with its
offset."""
Instant = int | datetime
"""A time with its offset, or Unix seconds."""
Cursor = Annotated[
    str,
    Meta(
        pattern=CURSOR_PATTERN,
        description="the id of an entry of this history, such as '3-4711', or a commit's number",
    ),
]
EventType = events.EventType
"""The events that a reader chooses commits by."""


class GetThread(Request, frozen=True, kw_only=True):
    """A thread as it is now.

    ``strong`` (the default) is never behind the log; ``eventual`` may be, by as much as the projector is and 5 seconds.
    ``at_least`` waits for a state that includes the thread's commit of that number, whatever the consistency.
    """

    thread_id: ThreadId
    consistency: Consistency = "strong"
    at_least: Version | None = None


class ListMessages(Request, frozen=True, kw_only=True):
    """A page of a thread's messages, by default newest first.

    ``after`` and ``before`` are message ids: the page begins after the one, and ends before the other. With ``before``
    alone it is the page right before that message.
    """

    thread_id: ThreadId
    limit: Limit = 20
    order: Order = "desc"
    after: str | None = None
    before: str | None = None
    consistency: Consistency = "strong"
    at_least: Version | None = None


class GetMessage(Request, frozen=True, kw_only=True):
    """One message as it is now."""

    thread_id: ThreadId
    message_id: MessageId
    consistency: Consistency = "strong"
    at_least: Version | None = None


class ListItems(ListMessages, frozen=True, kw_only=True):
    """A page of a thread's items of all types, by default newest first.

    ``after`` and ``before`` are item ids: the page begins after the one, and ends before the other. With ``before``
    alone it is the page right before that item.
    """


class GetItem(Request, frozen=True, kw_only=True):
    """One item as it is now."""

    thread_id: ThreadId
    item_id: ItemId
    consistency: Consistency = "strong"
    at_least: Version | None = None


class GetHistory(Request, frozen=True, kw_only=True):
    """A page of at most ``limit`` commits of a thread, or without one of the tenant's own; by default oldest first.

    ``after`` and ``before`` are cursors (ids of entries), in the order of the page; the number of a commit also works,
    more slowly. With ``before`` alone it is the page right before that commit. ``start``, in place of ``after``, is the
    number of the first commit. ``types`` selects commits with at least one of these events. ``actor`` selects by who
    was named, ``by`` by who was authenticated; with ``*`` at its end, by prefix. ``since`` and ``until`` are inclusive:
    times with their offset, or whole Unix seconds. ``stored`` asks for each commit's stored body too.
    """

    thread_id: ThreadId | None = None
    start: Version | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    order: Order = "asc"
    after: Cursor | None = None
    before: Cursor | None = None
    types: tuple[EventType, ...] = ()
    actor: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    by: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    since: Instant | None = None
    until: Instant | None = None
    stored: bool = False


class GetStateAt(Request, frozen=True, kw_only=True):
    """A thread as it was after commit ``n``, at ``time``, or ``as_of`` either: exactly one of the three.

    ``as_of`` is a commit's number, a time or Unix seconds; unlike ``time``, it may not be in the future.
    """

    thread_id: ThreadId
    n: Version | None = None
    time: datetime | None = None
    as_of: AsOf | None = None


class GetFeed(Request, frozen=True, kw_only=True):
    """A page of the commits of all of a tenant's threads, in the order of the log; with ``desc`` newest first.

    ``after`` is a cursor: the ``id`` of an entry or the ``next`` of a page, which never expire; or ``latest``, the end
    of the feed. ``types``, ``actor`` and ``by`` are as in the history of a thread. ``since`` and ``until`` are
    inclusive, and compare with the time at which the log stored a commit.
    """

    after: str | None = None
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100
    order: Order = "asc"
    types: tuple[EventType, ...] = ()
    actor: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    by: Annotated[str, Meta(min_length=1, max_length=128)] | None = None
    thread_id: ThreadId | None = None
    since: Instant | None = None
    until: Instant | None = None


class ListMessagesAt(Request, frozen=True, kw_only=True):
    """A page of a thread's messages as they were ``as_of`` a commit or time, with the cursors of ``ListMessages``."""

    thread_id: ThreadId
    as_of: AsOf
    limit: Limit = 20
    order: Order = "desc"
    after: str | None = None
    before: str | None = None


class GetMessageAt(Request, frozen=True, kw_only=True):
    """One message as it was ``as_of`` a commit or time."""

    thread_id: ThreadId
    message_id: MessageId
    as_of: AsOf


class ListItemsAt(ListMessagesAt, frozen=True, kw_only=True):
    """A page of a thread's items as they were ``as_of`` a commit or time, with the cursors of ``ListItems``."""


class GetItemAt(Request, frozen=True, kw_only=True):
    """One item as it was ``as_of`` a commit or time."""

    thread_id: ThreadId
    item_id: ItemId
    as_of: AsOf


class GetDifference(Request, frozen=True, kw_only=True):
    """What changed in a thread after ``from`` (0, the default: before its first commit) up to ``to`` (default: now).

    With a ``limit``, only so many of the changed items and of the commits are in the answer, the newest.
    """

    thread_id: ThreadId
    since: AsOf = field(name="from", default=0)
    until: AsOf | None = field(name="to", default=None)
    limit: PartLimit | None = None


class GetBlame(Request, frozen=True, kw_only=True):
    """Who last set each part of a thread, now or ``as_of`` a commit or time; of its items the newest ``limit``."""

    thread_id: ThreadId
    as_of: AsOf | None = None
    limit: PartLimit | None = None


class ListErasures(Request, frozen=True, kw_only=True):
    """A page of the tenant's erasures, newest first, from the newest or ``after`` the one of an id.

    ``status`` and ``thread_id`` choose among them.
    """

    limit: Limit = 20
    after: ErasureId | None = None
    status: Status | None = None
    thread_id: ThreadId | None = None


class GetErasure(Request, frozen=True, kw_only=True):
    """An erasure as it is now, with its certificate if it is completed."""

    erasure_id: ErasureId


Query = (
    GetThread
    | ListThreads
    | ListMessages
    | GetMessage
    | ListItems
    | GetItem
    | GetHistory
    | GetStateAt
    | GetFeed
    | ListMessagesAt
    | GetMessageAt
    | ListItemsAt
    | GetItemAt
    | GetDifference
    | GetBlame
    | ListCheckpoints
    | GetCheckpoint
    | GetProof
    | ListErasures
    | GetErasure
    | ListHolds
    | ListRetention
    | ListDue
)
