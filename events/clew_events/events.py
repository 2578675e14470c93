"""What can have happened to a thread.

These names and fields are the stored format of every history. A field may be added, with a default. Nothing is ever
renamed, removed or given another meaning: a changed event is a new one under a new tag, and the old tag moves to
:mod:`clew_events.upcast`. Golden bytes in the tests hold this.
"""

from __future__ import annotations

from msgspec import Struct

from clew_events.content import Message, Metadata, ToolResources


class ThreadCreated(Struct, frozen=True, kw_only=True, tag_field="type", tag="ThreadCreated"):
    """The thread came to be. Always the first event of the first commit."""

    metadata: Metadata
    tool_resources: ToolResources


class MetadataUpdated(Struct, frozen=True, kw_only=True, tag_field="type", tag="MetadataUpdated"):
    """The difference: keys that took a new value, and keys that went. A key left alone is not named."""

    set: Metadata
    unset: tuple[str, ...]


class ToolResourcesUpdated(Struct, frozen=True, kw_only=True, tag_field="type", tag="ToolResourcesUpdated"):
    """What the tools may use from now on, whole."""

    tool_resources: ToolResources


class MessageAdded(Struct, frozen=True, kw_only=True, tag_field="type", tag="MessageAdded"):
    """A message was put at the end of the thread."""

    message: Message


class MessageMetadataUpdated(Struct, frozen=True, kw_only=True, tag_field="type", tag="MessageMetadataUpdated"):
    """The difference in one message's metadata."""

    message_id: str
    set: Metadata
    unset: tuple[str, ...]


class MessageDeleted(Struct, frozen=True, kw_only=True, tag_field="type", tag="MessageDeleted"):
    """A message was taken out of the thread. Its ordinal stays empty for ever."""

    message_id: str


class ThreadDeleted(Struct, frozen=True, tag_field="type", tag="ThreadDeleted"):
    """The thread is gone for its users. Nothing follows; the history remains."""


Event = (
    ThreadCreated
    | MetadataUpdated
    | ToolResourcesUpdated
    | MessageAdded
    | MessageMetadataUpdated
    | MessageDeleted
    | ThreadDeleted
)
