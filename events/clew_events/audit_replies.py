"""Answers about the past: past states, differences, and the commits that made them."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import UNSET, Struct, UnsetType, field

from clew_events.commit import Position
from clew_events.content import ExpiresAfter
from clew_events.items import Item
from clew_events.objects import ItemPage, Message, MessagePage, Thread


class Origin(Struct, frozen=True, kw_only=True):
    """The commit that made something as it is: who, when, by which command, and the reason if one was given.

    ``id`` is its cursor in the history. ``trace_id`` is that of the command's W3C trace context, or null. A reason that
    was given may have been erased.
    """

    id: str
    n: int
    position: Position
    hash: str
    at: datetime
    actor: str
    by: str
    command: str
    command_id: str
    reason: str | None
    trace_id: str | None
    reason_erased: bool = False


class Point(Struct, frozen=True, kw_only=True):
    """A point in a thread's history: after commit ``n``, made at ``at``. Before the first commit, ``n`` is 0."""

    n: int
    at: datetime | None
    position: Position | None


class Then(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A past state: after commit ``n``, made at ``at``, the last commit up to the point of the query."""

    position: Position
    n: int
    at: datetime
    thread: Thread | None = None
    message: Message | None = None
    messages: MessagePage | None = None
    item: Item | UnsetType = UNSET
    items: ItemPage | None = None


Status = Literal["absent", "open", "deleted", "erased"]
How = Literal["added", "changed", "deleted", "added_and_deleted"]


class KeyChange(Struct, frozen=True, kw_only=True):
    """A metadata key with its value before and after, null where it did not exist."""

    key: str
    before: str | None
    after: str | None


class ResourceChange(Struct, frozen=True, kw_only=True):
    """A list of tool resources, such as ``code_interpreter.file_ids``, before and after."""

    resource: str
    before: tuple[str, ...]
    after: tuple[str, ...]


class ExpiryChange(Struct, frozen=True, kw_only=True):
    """When the thread expires, before and after, null where it does not."""

    before: ExpiresAfter | None
    after: ExpiresAfter | None


class StatusChange(Struct, frozen=True, kw_only=True):
    """The thread's status before and after."""

    before: Status
    after: Status


class MessageChange(Struct, frozen=True, kw_only=True):
    """A message before and after, null where it did not exist; ``metadata`` lists the keys that differ.

    A message that was added and deleted in between is listed, and null at both points.
    """

    id: str
    change: How
    before: Message | None
    after: Message | None
    metadata: tuple[KeyChange, ...]


class ItemChange(Struct, frozen=True):
    """An item before and after, omitted where it was not there: one that the Threads API cannot show.

    So is a message of which it shows nothing that differs.
    """

    id: str
    change: How
    before: Item | UnsetType = UNSET
    after: Item | UnsetType = UNSET


class Difference(Struct, frozen=True, kw_only=True):
    """The differences between two points of a thread's history, and the commits in between, oldest first.

    ``messages`` has the items that the Threads API can show, and ``items`` all others. ``expires_after`` is there only
    where it differs. ``erased`` tells that contents of commits up to the later point were erased: what they changed is
    not shown. Of the changed items and the commits the oldest are left out where the query had a limit: so many.
    """

    object: Literal["thread.difference"] = "thread.difference"
    thread_id: str
    since: Point = field(name="from")
    until: Point = field(name="to")
    status: StatusChange
    metadata: tuple[KeyChange, ...]
    tool_resources: tuple[ResourceChange, ...]
    expires_after: ExpiryChange | UnsetType = UNSET
    messages: tuple[MessageChange, ...]
    items: tuple[ItemChange, ...] = ()
    commits: tuple[Origin, ...]
    erased: bool = False
    changes_left_out: int = 0
    commits_left_out: int = 0


class KeySet(Struct, frozen=True, kw_only=True):
    """A metadata key, and the commit that last set it."""

    key: str
    value: str
    by: Origin


class KeyRemoved(Struct, frozen=True, kw_only=True):
    """A removed metadata key: its last value, the commit that set that, and the commit that removed it."""

    key: str
    value: str
    set_by: Origin
    by: Origin


class ResourceSet(Struct, frozen=True, kw_only=True):
    """A list of tool resources, such as ``code_interpreter.file_ids``, and the commit that last set it."""

    resource: str
    value: tuple[str, ...]
    by: Origin


class ExpirySet(Struct, frozen=True, kw_only=True):
    """When the thread expires, null if it does not any more, and the commit that last set it."""

    value: ExpiresAfter | None
    by: Origin


class MessageBlame(Struct, frozen=True, kw_only=True):
    """A message or another item, and the commits that added it, last replaced it, last changed it, and deleted it.

    Null where none did. What an item says, but for single keys of its metadata, is as it was added or last replaced.
    The metadata of a deleted one is as it was when it was deleted.
    """

    id: str
    added: Origin
    replaced: Origin | None
    changed: Origin
    deleted: Origin | None
    metadata: tuple[KeySet, ...]
    removed: tuple[KeyRemoved, ...]


class Blame(Struct, frozen=True, kw_only=True):
    """The commit that last set each part of a thread, as of a point in its history. Deleted messages are included.

    ``expires_after`` is there only where it was ever set. ``erased`` tells that contents of commits up to that point
    were erased: what they set is not shown. Of the items the oldest are left out where the query had a limit: so many.
    """

    object: Literal["thread.blame"] = "thread.blame"
    thread_id: str
    at: Point
    created: Origin
    deleted: Origin | None
    metadata: tuple[KeySet, ...]
    removed: tuple[KeyRemoved, ...]
    tool_resources: tuple[ResourceSet, ...]
    expires_after: ExpirySet | UnsetType = UNSET
    messages: tuple[MessageBlame, ...]
    erased: bool = False
    left_out: int = 0
