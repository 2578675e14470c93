"""What may be asked, as it is put on the wire at ``clew.query.<tenant>.<query>``."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal

from msgspec import Meta

from clew_events.ids import MessageId, ThreadId
from clew_events.requests import Request

Consistency = Literal["strong", "eventual"]
Order = Literal["asc", "desc"]
Limit = Annotated[int, Meta(ge=1, le=100)]
Version = Annotated[int, Meta(ge=1)]


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
    """A thread's commits in order, from number ``start``; a page of at most ``limit``."""

    thread_id: ThreadId
    start: Version = 1
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class GetStateAt(Request, frozen=True, kw_only=True):
    """A thread as it was after commit ``n``, or at the moment ``time``: exactly one of the two."""

    thread_id: ThreadId
    n: Version | None = None
    time: datetime | None = None


Query = GetThread | ListMessages | GetMessage | GetHistory | GetStateAt

QUERIES: Final[dict[str, type[Query]]] = {
    "get_thread": GetThread,
    "list_messages": ListMessages,
    "get_message": GetMessage,
    "history": GetHistory,
    "state_at": GetStateAt,
}
