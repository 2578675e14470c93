"""What other services may ask for, as they put it on the wire.

A command is one flat JSON object: what to do, and around it ``id`` (the same id is carried out once, however often it
is sent), ``actor`` (who asks), ``expected_version`` (the thread's ``n`` the caller decided on) and ``reply_to`` (where
an inbox command's outcome should go). All four may be left out.
"""

from __future__ import annotations

import hashlib
from typing import Annotated, ClassVar, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from clew_events.ids import Actor, CommandId, MessageId, Subject, ThreadId
from clew_events.requests import (
    MAX_MESSAGES_PER_CREATE,
    MetadataIn,
    MetadataPatch,
    NewMessage,
    NewToolResources,
    Request,
    ToolResourcesIn,
)


class Envelope(Request, frozen=True, kw_only=True):
    """What every command may carry around what it asks for."""

    named: ClassVar[str]

    id: CommandId | None = None
    actor: Actor | None = None
    expected_version: Annotated[int, Meta(ge=0)] | None = None
    reply_to: Subject | None = None


class CreateThread(Envelope, frozen=True, kw_only=True):
    """Begin a thread, with up to 100 messages already in it, in one commit.

    Without ``thread_id`` the thread's id follows from tenant and command id, so a repeat finds the thread for ever.
    """

    named: ClassVar[str] = "CreateThread"

    thread_id: ThreadId | None = None
    messages: Annotated[tuple[NewMessage, ...], Meta(max_length=MAX_MESSAGES_PER_CREATE)] | None = None
    metadata: MetadataIn | None = None
    tool_resources: NewToolResources | None = None


class UpdateThread(Envelope, frozen=True, kw_only=True):
    """Change a thread. What is left out stays; ``metadata`` replaces all of it, and null or {} clears it.

    ``patch`` changes single metadata keys instead and leaves the others alone.
    """

    named: ClassVar[str] = "UpdateThread"

    thread_id: ThreadId
    metadata: MetadataIn | UnsetType | None = UNSET
    patch: MetadataPatch | UnsetType = UNSET
    tool_resources: ToolResourcesIn | UnsetType | None = UNSET


class DeleteThread(Envelope, frozen=True, kw_only=True):
    """End a thread. Its id is never used again; its history stays."""

    named: ClassVar[str] = "DeleteThread"

    thread_id: ThreadId


class AddMessage(Envelope, frozen=True, kw_only=True):
    """Put a message at the end of a thread."""

    named: ClassVar[str] = "AddMessage"

    thread_id: ThreadId
    message: NewMessage


class UpdateMessage(Envelope, frozen=True, kw_only=True):
    """Change a message's metadata: ``metadata`` replaces all of it, ``patch`` single keys."""

    named: ClassVar[str] = "UpdateMessage"

    thread_id: ThreadId
    message_id: MessageId
    metadata: MetadataIn | UnsetType | None = UNSET
    patch: MetadataPatch | UnsetType = UNSET


class DeleteMessage(Envelope, frozen=True, kw_only=True):
    """Take a message out of a thread."""

    named: ClassVar[str] = "DeleteMessage"

    thread_id: ThreadId
    message_id: MessageId


Command = CreateThread | UpdateThread | DeleteThread | AddMessage | UpdateMessage | DeleteMessage

_CANONICAL: Final = msgspec.json.Encoder(order="deterministic")


def digest(command: Command) -> str:
    """What a command asks for, in 16 hex digits: the same whoever sends it, how often, and with what spacing.

    The command is hashed in canonical form (fields in the order of the type, keys sorted, defaults left out) without
    ``id``, ``actor`` and ``reply_to``, so that a repeat by another route or client is still the same command.
    """
    asked = msgspec.structs.replace(command, id=None, actor=None, reply_to=None)
    return hashlib.sha256(command.named.encode() + b"\x00" + _CANONICAL.encode(asked)).hexdigest()[:16]
