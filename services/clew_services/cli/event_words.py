"""Events in a few words, for people who read a history. An event without words of its own is shown by its name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Raw, UnsetType

from clew_events.content import ExpiresAfter, Message, Text
from clew_events.events import (
    ErasedItemEvent,
    ErasedThreadEvent,
    ErasureCompleted,
    ErasureRequested,
    Event,
    EventType,
    ExpiryUpdated,
    HoldPlaced,
    HoldReleased,
    ItemAdded,
    ItemDeleted,
    ItemMetadataUpdated,
    ItemReplaced,
    MetadataUpdated,
    RetentionRemoved,
    RetentionSet,
    StandingHoldPlaced,
    StandingHoldReleased,
    ThreadCreated,
    ThreadDeleted,
    type_of,
)
from clew_events.items import message_in, read_fields, read_text
from clew_events.items import type_of as item_type

_EXCERPT: Final = 40
_NEXT_WORD: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def describe(event: Event) -> str:  # noqa: C901, PLR0912 - one case an event
    """An event on one line."""
    match event:
        case ThreadCreated():
            imported = event.imported
            how = "created" if isinstance(imported, UnsetType) else f"imported from {imported.source}"
            return " ".join((how, *_pairs(event.metadata)))
        case MetadataUpdated():
            return " ".join(("metadata", *_difference(event.set, event.unset)))
        case ExpiryUpdated():
            return f"expires {expiry(event.expires_after)}"
        case ItemAdded():
            return f"+ {event.item} {_excerpt(event)}"
        case ItemReplaced():
            return f"{event.item} replaced {_excerpt(event)}"
        case ItemMetadataUpdated():
            return " ".join((event.item, "metadata", *_difference(event.set, event.unset)))
        case ItemDeleted():
            return f"- {event.item}"
        case ThreadDeleted():
            return "deleted"
        case HoldPlaced() | HoldReleased() | StandingHoldReleased():
            return f"{_by_name(type_of(event))} {event.hold}"
        case ErasureRequested():
            return " ".join((event.erasure, "requested", *(event.items or ())))
        case ErasureCompleted():
            return f"{event.erasure} completed"
        case RetentionSet() | RetentionRemoved() | StandingHoldPlaced():
            return _order(event)
        case ErasedThreadEvent():
            return f"{_by_name(event.of)} (erased)"
        case ErasedItemEvent():
            return f"{event.item} {_by_name(event.of)} (erased)"
        case _:
            return _by_name(type_of(event))


def _order(event: RetentionSet | RetentionRemoved | StandingHoldPlaced) -> str:
    if isinstance(event, RetentionRemoved):
        return f"retention removed {event.name}"
    if isinstance(event, StandingHoldPlaced):
        return f"standing hold placed {event.hold} {event.where}"
    later = f", erase {event.erase_after_days}d later" if event.erase_after_days is not None else ""
    rule = f"retention set {event.name}: after {event.after_days}d since {event.since} {event.then}{later}"
    return rule if event.where is None else f"{rule} {event.where}"


def expiry(expires_after: ExpiresAfter | None) -> str:
    """When a thread expires."""
    if expires_after is None:
        return "never"
    return f"{expires_after.days} day{'' if expires_after.days == 1 else 's'} after {expires_after.anchor}"


def _by_name(name: EventType) -> str:
    """``ThreadRestored`` is "thread restored"; that something changed goes without saying."""
    return _NEXT_WORD.sub(" ", name).lower().removesuffix(" updated")


def _pairs(metadata: Mapping[str, str]) -> list[str]:
    return [f"{key}={value}" for key, value in metadata.items()]


def _difference(changed: Mapping[str, str], removed: Sequence[str]) -> list[str]:
    return [*_pairs(changed), *(f"-{key}" for key in removed)]


def kind_of(body: Raw) -> str:
    """The role of a stored item that is a message, and the type of any other."""
    kind = item_type(body)
    return read_text(read_fields(body), "role") or kind if kind == "message" else kind


def _excerpt(event: ItemAdded | ItemReplaced) -> str:
    """The role of a message and how it begins, or the type of another item."""
    message = event.message if isinstance(event.message, Message) else None
    if isinstance(event.body, Raw) and (message := message_in(event.body)) is None:
        return kind_of(event.body)
    if message is None:
        return "nothing"
    texts = [part.text for part in message.content if isinstance(part, Text)]
    line = " ".join(" ".join(texts).split()) or f"({len(message.content)} parts)"
    return f"{message.role}: {line if len(line) <= _EXCERPT else line[: _EXCERPT - 1] + '…'}"
