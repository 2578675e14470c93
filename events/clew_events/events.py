"""The events: what can happen to a thread. Each is declared here, and nowhere else.

An event belongs to a family, :class:`ThreadEvent` or :class:`MessageEvent`, names its ``effect``, and is a member of
:data:`Event`. The codec, the schemas, the filters by type and the messages that an event concerns follow from the
declaration. Code that treats an event in a way of its own matches on it and ends in ``assert_never``, so the type
checker names every such place for a new event.

The names and fields are the stored format of every history. A field may be added, with a default. Nothing is renamed,
removed or given another meaning: a changed event is a new one under a new tag, and the old tag moves to
:mod:`clew_events.upcast`. The tests compare stored bytes.
"""

from __future__ import annotations

from typing import ClassVar, Literal, final

from msgspec import Struct

from clew_events.content import Message, Metadata, ToolResources

Effect = Literal["creates", "changes", "deletes"]
"""What an event does to the thread or the message that it is about."""


class ThreadEvent(Struct, frozen=True):
    """An event about a thread as a whole: no message comes, changes or goes by it."""


class MessageEvent(Struct, frozen=True):
    """An event about one message, which its ``message_id`` names."""


@final
class ThreadCreated(ThreadEvent, frozen=True, kw_only=True, tag_field="type", tag="ThreadCreated"):
    """The thread came to be. Always the first event of the first commit."""

    effect: ClassVar[Effect] = "creates"

    metadata: Metadata
    tool_resources: ToolResources


@final
class MetadataUpdated(ThreadEvent, frozen=True, kw_only=True, tag_field="type", tag="MetadataUpdated"):
    """The difference: keys that took a new value, and keys that went. A key left alone is not named."""

    effect: ClassVar[Effect] = "changes"

    set: Metadata
    unset: tuple[str, ...]


@final
class ToolResourcesUpdated(ThreadEvent, frozen=True, kw_only=True, tag_field="type", tag="ToolResourcesUpdated"):
    """What the tools may use from now on, whole."""

    effect: ClassVar[Effect] = "changes"

    tool_resources: ToolResources


@final
class MessageAdded(MessageEvent, frozen=True, kw_only=True, tag_field="type", tag="MessageAdded"):
    """A message was put at the end of the thread."""

    effect: ClassVar[Effect] = "creates"

    message: Message

    @property
    def message_id(self) -> str:
        """The id of the message that was added."""
        return self.message.id


@final
class MessageMetadataUpdated(MessageEvent, frozen=True, kw_only=True, tag_field="type", tag="MessageMetadataUpdated"):
    """The difference in one message's metadata."""

    effect: ClassVar[Effect] = "changes"

    message_id: str
    set: Metadata
    unset: tuple[str, ...]


@final
class MessageDeleted(MessageEvent, frozen=True, kw_only=True, tag_field="type", tag="MessageDeleted"):
    """A message was deleted from the thread. Its ordinal is never used again."""

    effect: ClassVar[Effect] = "deletes"

    message_id: str


@final
class ThreadDeleted(ThreadEvent, frozen=True, tag_field="type", tag="ThreadDeleted"):
    """The thread is gone for its users. Nothing follows; the history remains."""

    effect: ClassVar[Effect] = "deletes"


Event = (
    ThreadCreated
    | MetadataUpdated
    | ToolResourcesUpdated
    | MessageAdded
    | MessageMetadataUpdated
    | MessageDeleted
    | ThreadDeleted
)

EventType = Literal[
    "ThreadCreated",
    "MetadataUpdated",
    "ToolResourcesUpdated",
    "MessageAdded",
    "MessageMetadataUpdated",
    "MessageDeleted",
    "ThreadDeleted",
]
"""The tags of all events, in the same order: the ``type`` that each is stored with, and by which queries choose."""
