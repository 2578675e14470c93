"""Who last set each part of a thread, and who took away what is not there any more."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from clew_events.past import Origin, Point


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
