"""What changed in a thread between two points of its history, and by which commits."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct, field

from clew_events.objects import Message
from clew_events.past import Origin, Point

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
