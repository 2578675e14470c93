"""Events in a few words, for people who read a history. An event without words of its own is shown by its name."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final

from clew_events.content import Message, Text
from clew_events.events import (
    Event,
    MessageAdded,
    MessageDeleted,
    MessageMetadataUpdated,
    MetadataUpdated,
    ThreadCreated,
    ThreadDeleted,
)

_EXCERPT: Final = 40
_NEXT_WORD: Final = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def describe(event: Event) -> str:
    """An event on one line."""
    match event:
        case ThreadCreated():
            return " ".join(("created", *_pairs(event.metadata)))
        case MetadataUpdated():
            return " ".join(("metadata", *_difference(event.set, event.unset)))
        case MessageAdded():
            return f"+ {event.message.id} {event.message.role}: {_excerpt(event.message)}"
        case MessageMetadataUpdated():
            return " ".join((event.message_id, "metadata", *_difference(event.set, event.unset)))
        case MessageDeleted():
            return f"- {event.message_id}"
        case ThreadDeleted():
            return "deleted"
        case _:
            return _by_name(event)


def _by_name(event: Event) -> str:
    """``ThreadRestored`` is "thread restored"; that something changed goes without saying."""
    return _NEXT_WORD.sub(" ", type(event).__name__).lower().removesuffix(" updated")


def _pairs(metadata: Mapping[str, str]) -> list[str]:
    return [f"{key}={value}" for key, value in metadata.items()]


def _difference(changed: Mapping[str, str], removed: Sequence[str]) -> list[str]:
    return [*_pairs(changed), *(f"-{key}" for key in removed)]


def _excerpt(message: Message) -> str:
    texts = [part.text for part in message.content if isinstance(part, Text)]
    line = " ".join(" ".join(texts).split())
    if not line:
        return f"({len(message.content)} parts)"
    return line if len(line) <= _EXCERPT else line[: _EXCERPT - 1] + "…"
