"""Replies over NATS: ``{"ok": …}`` or ``{"error": …}``, never both.

A caller that may send commands is not always permitted to read. So the reply to a command holds its result and what the
command itself contained, and nothing else of the thread. A repeated command gets the reply of its first execution: the
commit it made, even if the thread has changed since.
"""

from __future__ import annotations

from datetime import datetime
from typing import Generic, Literal, TypeVar

from msgspec import UNSET, Struct, UnsetType

from clew_events.audit_replies import Blame, Difference, Then
from clew_events.checkpoint_messages import CheckpointPage, KeptProof, SignedCheckpoint
from clew_events.commit import Commit, Position
from clew_events.erasures import Erasure, ErasurePage, RetrievedErasure
from clew_events.errors import Fault
from clew_events.items import Item
from clew_events.list_reply import DuePage, FilterHold, HoldPage, RetentionEffect, RetentionList, ThreadList
from clew_events.objects import (
    Gone,
    HeldThread,
    ItemPage,
    ItemsReceipt,
    Message,
    MessagePage,
    MessageReceipt,
    Thread,
    ThreadReceipt,
)

T = TypeVar("T")


class Done(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The result of a command, executed now or before: the position of its commit, and what it concerned.

    ``popped`` is the item that ``PopItem`` took away; it is omitted if there was none.

    A command that changes nothing makes no commit; ``position`` and ``n`` are then those of the thread's last commit.
    """

    position: Position
    n: int
    thread: ThreadReceipt | None = None
    message: MessageReceipt | None = None
    deleted: Gone | None = None
    erasure: Erasure | None = None
    held: HeldThread | None = None
    retention: RetentionEffect | None = None
    standing: FilterHold | None = None
    items: ItemsReceipt | None = None
    popped: Item | UnsetType = UNSET


class Found(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A present state: after the thread's commit ``n``.

    ``inherits`` is said of a page of a fork that began with items of its parent: those may be erased there, so that a
    later page is another at the same ``n``.
    """

    position: Position
    n: int
    inherits: bool = False
    thread: Thread | None = None
    message: Message | None = None
    messages: MessagePage | None = None
    item: Item | UnsetType = UNSET
    items: ItemPage | None = None


class Entry(Struct, frozen=True, kw_only=True):
    """A commit of a history, with its position in the log and the hash of its record.

    ``id`` is a cursor for ``after`` and ``before``. ``trace_id`` is that of the command's W3C trace context, or null.
    ``stored`` is the stored body, byte for byte, where it was asked for: the record on its first line.
    """

    id: str
    position: Position
    hash: str
    trace_id: str | None = None
    commit: Commit
    stored: str | None = None


class MissingCommits(Struct, frozen=True, kw_only=True):
    """Commits of a thread that are missing from the log, from number ``first`` to number ``last``."""

    first: int
    last: int


class History(Struct, frozen=True, kw_only=True):
    """A page of a thread's commits, in the order of the query.

    ``missing`` lists commits that belong on this page and are missing from the log, which is then damaged. ``next`` is
    the ``start`` of the next page and ``cursor`` its ``after``, which is faster; both are null on the last page.
    ``previous`` is the ``before`` of the previous page, and null on the first. With a filter, a page may have fewer
    commits than the limit, or none, and not be the last.
    """

    commits: tuple[Entry, ...]
    missing: tuple[MissingCommits, ...] = ()
    next: int | None = None
    cursor: str | None = None
    previous: str | None = None


class Moment(Struct, frozen=True, kw_only=True):
    """A thread as it was after commit ``n``, made at ``at``; null if it had been deleted by then.

    ``message_count`` counts its items of all types.
    """

    position: Position
    n: int
    at: datetime
    thread: Thread | None
    message_count: int


class FeedEntry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A commit in the feed. ``id`` is the cursor after it; ``stored_at`` is when the log stored it, in feed order.

    If the stored body cannot be decoded, ``commit`` is null, ``body`` holds it in base64, and ``fault`` is the error.
    """

    id: str
    object: Literal["thread.commit"] = "thread.commit"
    stored_at: datetime
    position: Position
    hash: str
    trace_id: str | None = None
    commit: Commit | None = None
    fault: Fault | None = None
    body: bytes | None = None


class Feed(Struct, frozen=True, kw_only=True):
    """A page of the feed. ``next`` is the cursor of the next page, also if that is still empty."""

    object: Literal["list"] = "list"
    data: tuple[FeedEntry, ...]
    first_id: str | None
    last_id: str | None
    has_more: bool
    next: str


Answer = (
    Found
    | ThreadList
    | History
    | Moment
    | Feed
    | Then
    | Difference
    | Blame
    | CheckpointPage
    | SignedCheckpoint
    | KeptProof
    | ErasurePage
    | RetrievedErasure
    | HoldPage
    | RetentionList
    | DuePage
)
"""The answer to a query."""


class Reply(Struct, Generic[T], frozen=True, omit_defaults=True):
    """The reply to a command or query: its answer as ``ok``, or ``error``."""

    ok: T | None = None
    error: Fault | None = None


class Rejection(Struct, frozen=True, kw_only=True):
    """An inbox command that was rejected: its body, byte for byte if it is text, and the error.

    ``shortened`` is true if the body was too large to be stored whole: ``body`` is then its beginning, ``size`` is its
    size in bytes, and ``sha256`` is the hash of all of it.
    """

    tenant: str
    command: str
    inbox_seq: int
    id: str | None
    error: Fault
    body: str
    shortened: bool = False
    size: int | None = None
    sha256: str | None = None
