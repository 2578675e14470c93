"""What is said about the past: which commit did it, and how things were then."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import Struct, field

from clew_events.commit import Position
from clew_events.objects import Message, MessagePage, Thread


class Origin(Struct, frozen=True, kw_only=True):
    """The commit by which something came to be: who asked for it, when, and by which command.

    ``id`` is its cursor in the history. ``trace_id`` is that of the trace in which the command came, if in any.
    """

    id: str
    n: int
    position: Position
    hash: str
    at: datetime
    actor: str
    command: str
    command_id: str
    trace_id: str | None


class Point(Struct, frozen=True, kw_only=True):
    """A point in a thread's history: after commit ``n``, made at ``at``. Before the first, ``n`` is 0."""

    n: int
    at: datetime | None
    position: Position | None


class Then(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How things were after commit ``n``, the last that had been made by then, at ``at``."""

    position: Position
    n: int
    at: datetime
    thread: Thread | None = None
    message: Message | None = None
    messages: MessagePage | None = None


Status = Literal["absent", "open", "deleted"]
How = Literal["added", "changed", "deleted", "added_and_deleted"]


class KeyChange(Struct, frozen=True, kw_only=True):
    """A metadata key: its value before and after, null where it was not there."""

    key: str
    before: str | None
    after: str | None


class ResourceChange(Struct, frozen=True, kw_only=True):
    """A list of what tools may use, such as ``code_interpreter.file_ids``, before and after."""

    resource: str
    before: tuple[str, ...]
    after: tuple[str, ...]


class StatusChange(Struct, frozen=True, kw_only=True):
    """Whether the thread was there."""

    before: Status
    after: Status


class MessageChange(Struct, frozen=True, kw_only=True):
    """A message, whole, before and after, null where it was not there; ``metadata`` are the keys that differ.

    What was added and deleted again in between is there at neither point, and named all the same.
    """

    id: str
    change: How
    before: Message | None
    after: Message | None
    metadata: tuple[KeyChange, ...]


class Difference(Struct, frozen=True, kw_only=True):
    """All that differs between two points, and the commits in between, the oldest first."""

    object: Literal["thread.difference"] = "thread.difference"
    thread_id: str
    since: Point = field(name="from")
    until: Point = field(name="to")
    status: StatusChange
    metadata: tuple[KeyChange, ...]
    tool_resources: tuple[ResourceChange, ...]
    messages: tuple[MessageChange, ...]
    commits: tuple[Origin, ...]


class KeySet(Struct, frozen=True, kw_only=True):
    """A metadata key that is there, and the commit that last set it."""

    key: str
    value: str
    by: Origin


class KeyRemoved(Struct, frozen=True, kw_only=True):
    """A metadata key that is not there any more: the value it last had, who had set it, and who removed it."""

    key: str
    value: str
    set_by: Origin
    by: Origin


class ResourceSet(Struct, frozen=True, kw_only=True):
    """A list of what tools may use, such as ``code_interpreter.file_ids``, and the commit that made it what it is."""

    resource: str
    value: tuple[str, ...]
    by: Origin


class MessageBlame(Struct, frozen=True, kw_only=True):
    """A message: who added it, who last changed it in any way, and who deleted it, if anybody did.

    The keys of a deleted message are those it had when it was deleted.
    """

    id: str
    added: Origin
    changed: Origin
    deleted: Origin | None
    metadata: tuple[KeySet, ...]
    removed: tuple[KeyRemoved, ...]


class Blame(Struct, frozen=True, kw_only=True):
    """Whom each part of a thread comes from, as of a point in its history; messages in order, deleted ones too."""

    object: Literal["thread.blame"] = "thread.blame"
    thread_id: str
    at: Point
    created: Origin
    deleted: Origin | None
    metadata: tuple[KeySet, ...]
    removed: tuple[KeyRemoved, ...]
    tool_resources: tuple[ResourceSet, ...]
    messages: tuple[MessageBlame, ...]
