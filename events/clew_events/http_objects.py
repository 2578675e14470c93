"""Objects that only HTTP returns, beside those of :mod:`clew_events.objects`: conversations, and flat commits."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import UNSET, Struct, UnsetType

from clew_events.commit import Position
from clew_events.content import ExpiresAfter, Metadata
from clew_events.errors import Fault
from clew_events.events import Event
from clew_events.items import Item
from clew_events.list_reply import Count, Excerpt, Facet, FirstText, Freshness
from clew_events.replies import MissingCommits


class Conversation(Struct, frozen=True, kw_only=True):
    """A thread as OpenAI's Conversations API shows it. ``created_at`` is in Unix seconds.

    ``expires_after``, ``expires_at`` and ``erased`` are as in :class:`~clew_events.objects.Thread`.
    """

    id: str
    object: Literal["conversation"] = "conversation"
    created_at: int
    metadata: Metadata
    expires_after: ExpiresAfter | UnsetType = UNSET
    expires_at: int | UnsetType = UNSET
    erased: bool | UnsetType = UNSET


class ConversationReceipt(Struct, frozen=True, kw_only=True):
    """The result of a change to a conversation, for callers that are not permitted to read it.

    ``version`` is the number of its latest commit. ``metadata`` holds what the change itself set, and is omitted if it
    set none.
    """

    id: str
    object: Literal["conversation"] = "conversation"
    created_at: int
    version: int
    metadata: Metadata | UnsetType = UNSET


class DeletedConversation(Struct, frozen=True, kw_only=True):
    """The answer to the deletion of a conversation."""

    id: str
    object: Literal["conversation.deleted"] = "conversation.deleted"
    deleted: bool = True


class ListedConversation(Conversation, frozen=True, kw_only=True):
    """A conversation in a list, with the values of :class:`~clew_events.list_reply.ListedThread`."""

    updated_at: int
    version: int
    item_count: int
    created_by: str
    updated_by: str
    excerpt: Excerpt | UnsetType = UNSET
    first_text: FirstText | UnsetType = UNSET


class Element(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An element of HTML, one of those that are safe to make, with what is in it: texts and elements.

    ``opened`` is of ``details``, ``start`` of ``ol``. A link's ``href`` begins with ``http:``, ``https:`` or
    ``mailto:``.
    """

    tag: str
    style: str | None = None
    href: str | None = None
    start: str | None = None
    opened: bool = False
    children: tuple[str | Element, ...] = ()


class RenderedItems(Struct, frozen=True, kw_only=True):
    """Items as HTML, each as the elements and texts that it consists of, in the order of the request."""

    object: Literal["list"] = "list"
    data: tuple[tuple[str | Element, ...], ...]


class ConversationList(Struct, frozen=True, kw_only=True):
    """A page of conversations, as :class:`~clew_events.list_reply.ThreadList` is one of threads."""

    object: Literal["list"] = "list"
    data: tuple[ListedConversation, ...]
    first_id: str | None
    last_id: str | None
    has_more: bool
    next: str | None
    previous: str | None
    fresh: Freshness
    count: Count | None = None
    facets: tuple[Facet, ...] | None = None
    actors: tuple[Facet, ...] | None = None


class ConversationItem(Struct, frozen=True, kw_only=True):
    """An item as it was given, with its id, and with what the Conversations API fills in."""

    id: str
    type: str


class ConversationItems(Struct, frozen=True, kw_only=True):
    """A page of items. ``first_id`` and ``last_id`` are empty if it is: OpenAI's clients require a string."""

    object: Literal["list"] = "list"
    data: tuple[Item, ...]
    first_id: str
    has_more: bool
    last_id: str


class CommitObject(Struct, frozen=True, kw_only=True):
    """One commit. ``id`` is its cursor; ``created_at`` are the Unix seconds of ``at``.

    ``actor`` is whom the caller named, ``by`` what Clew itself knows of the caller. ``hash`` is the SHA-256 of the
    stored record, which the next commit has as its ``prev``. ``stored`` is the stored body where it was asked for.
    """

    id: str
    object: Literal["thread.commit"] = "thread.commit"
    thread_id: str
    n: int
    created_at: int
    at: datetime
    actor: str
    by: str
    reason: str | None
    reason_erased: bool
    command: str
    command_id: str
    trace_id: str | None
    position: Position
    hash: str
    prev: str | None
    events: tuple[Event, ...]
    stored: str | None = None


class CommitPage(Struct, frozen=True, kw_only=True):
    """A page of commits.

    ``next`` is the ``after`` of the next page, and null if there is none. ``previous`` is the ``before`` of the
    previous page, and null if this one begins where the history does. ``missing`` has the commits that should stand
    among these and that the log lost. Where little of a long history is asked for, a page may be empty and still have a
    ``next``.
    """

    object: Literal["list"] = "list"
    data: tuple[CommitObject, ...]
    missing: tuple[MissingCommits, ...]
    first_id: str | None
    last_id: str | None
    has_more: bool
    next: str | None
    previous: str | None


class FeedCommit(CommitObject, frozen=True, kw_only=True):
    """One commit. ``id`` is the cursor after it in the feed, ``stored_at`` when the log took it, which is its order."""

    stored_at: datetime


class UnreadableFeedCommit(Struct, frozen=True, kw_only=True):
    """What stands in the log and cannot be read, in base64, and why it cannot."""

    id: str
    object: Literal["thread.commit.unreadable"] = "thread.commit.unreadable"
    position: Position
    hash: str
    stored_at: datetime
    fault: Fault
    body: bytes


class FeedPage(Struct, frozen=True, kw_only=True):
    """A page of the feed. ``next`` is what to give as ``after`` for the page after it, now or when there is more.

    Where little is asked for, a page may be empty and still have more after it. Should something stand in the log that
    cannot be read, there is a ``thread.commit.unreadable`` in its place, with its bytes.
    """

    object: Literal["list"] = "list"
    data: tuple[FeedCommit, ...]
    first_id: str | None
    last_id: str | None
    has_more: bool
    next: str


class Session(Struct, frozen=True, kw_only=True):
    """Who makes a request: the tenant, the key's id and the actor that it is recorded as, and the key's scopes.

    ``expires_at`` is when the browser's session ends; it is omitted where the key itself was shown.
    """

    object: Literal["session"] = "session"
    tenant: str
    key: str
    actor: str
    scopes: tuple[str, ...]
    expires_at: datetime | UnsetType = UNSET


class ClosedSession(Struct, frozen=True, kw_only=True):
    """The answer to the end of a session."""

    object: Literal["session.closed"] = "session.closed"
    closed: bool = True
