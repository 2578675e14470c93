"""Commands, as they are sent.

A command is one flat JSON object. Beside its own fields it has five optional ones: ``id`` (a command is executed once
under its id, however often it is sent), ``actor`` (who requests it), ``reason`` (why; stored as content of the
commit), ``expected_version`` (the thread's ``n`` that the caller decided on) and ``reply_to`` (the subject for an inbox
command's reply).
"""

from __future__ import annotations

import hashlib
from typing import Annotated, ClassVar, Final, assert_never, final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from clew_events.content import Anchor, Disposal, Metadata
from clew_events.ids import Actor, Code, CommandId, ItemId, MessageId, Reason, Subject, ThreadId
from clew_events.items import Item, Items
from clew_events.list_query import Condition, Kind, kind_of
from clew_events.requests import (
    MAX_MESSAGES_PER_CREATE,
    Days,
    ExpiresAfterIn,
    MetadataIn,
    MetadataPatch,
    NewMessage,
    NewToolResources,
    Request,
    ToolResourcesIn,
)


class Envelope(Request, frozen=True, kw_only=True):
    """The optional fields of every command."""

    named: ClassVar[str]

    id: CommandId | None = None
    actor: Actor | None = None
    reason: Reason | None = None
    expected_version: Annotated[int, Meta(ge=0)] | None = None
    reply_to: Subject | None = None


class ThreadCommand(Envelope, frozen=True, kw_only=True):
    """A command about a thread as a whole, and answered by it."""


class HoldCommand(ThreadCommand, frozen=True, kw_only=True):
    """A command about a legal hold on a thread, answered by the holds that the thread has then."""


class TenantCommand(Envelope, frozen=True, kw_only=True):
    """A command about all threads of the tenant, decided on the tenant's own history, whose version it expects."""


class OneItemCommand(Envelope, frozen=True, kw_only=True):
    """A command about one item that is there already, decided on it as it is."""

    thread_id: ThreadId

    @property
    def about(self) -> str:
        """The id of the item."""
        raise NotImplementedError


class MessageCommand(OneItemCommand, frozen=True, kw_only=True):
    """A command about a message that is there already, answered by it."""

    message_id: MessageId

    @property
    def about(self) -> str:
        """The id of the message."""
        return self.message_id


class ItemCommand(OneItemCommand, frozen=True, kw_only=True):
    """A command about an item of any type that is there already."""

    item_id: ItemId

    @property
    def about(self) -> str:
        """The id of the item."""
        return self.item_id


@final
class CreateThread(ThreadCommand, frozen=True, kw_only=True):
    """Create a thread, with up to 100 messages, or up to 1,000 items, in one commit.

    Without ``thread_id``, the thread's id is derived from tenant and command id, so a repeat always finds the thread.
    With one that begins with ``conv_`` it is a conversation, as it is where that is the ``kind`` of the id to derive.
    Items are as in :class:`AddItems`.
    """

    named: ClassVar[str] = "CreateThread"

    thread_id: ThreadId | None = None
    kind: Kind = "thread"
    messages: Annotated[tuple[NewMessage, ...], Meta(max_length=MAX_MESSAGES_PER_CREATE)] | None = None
    items: Items | None = None
    metadata: MetadataIn | None = None
    tool_resources: NewToolResources | None = None
    expires_after: ExpiresAfterIn | None = None


@final
class ForkThread(ThreadCommand, frozen=True, kw_only=True):
    """Create a thread that begins as the past of another, its ``parent``, and copies none of its items.

    ``at`` is a version of the parent, or an item, after which nothing is inherited; without it the fork begins with all
    that the parent has now. Metadata is the parent's then, unless it is given; null or {} gives none. The fork
    shows the parent as it was then, whatever becomes of it, but what is erased there. Without ``thread_id``, the
    fork's id is derived as that of a thread that is created; it is a conversation if the parent is one.
    """

    named: ClassVar[str] = "ForkThread"

    thread_id: ThreadId | None = None
    parent: ThreadId
    at: Annotated[int, Meta(ge=1)] | ItemId | None = None
    metadata: MetadataIn | UnsetType | None = UNSET

    @property
    def kind(self) -> Kind:
        """Which kind of thread the fork is."""
        return kind_of(self.parent)


@final
class UpdateThread(ThreadCommand, frozen=True, kw_only=True):
    """Change a thread. What is omitted stays as it is. ``metadata`` replaces all metadata; null or {} clears it.

    ``patch`` sets and removes single metadata keys instead, and leaves the others as they are. With null as
    ``expires_after`` the thread does not expire any more.
    """

    named: ClassVar[str] = "UpdateThread"

    thread_id: ThreadId
    metadata: MetadataIn | UnsetType | None = UNSET
    patch: MetadataPatch | UnsetType = UNSET
    tool_resources: ToolResourcesIn | UnsetType | None = UNSET
    expires_after: ExpiresAfterIn | UnsetType | None = UNSET


@final
class DeleteThread(ThreadCommand, frozen=True, kw_only=True):
    """Delete a thread. Its id is never used again; its history stays, and it can be restored until it is erased."""

    named: ClassVar[str] = "DeleteThread"

    thread_id: ThreadId


@final
class RestoreThread(ThreadCommand, frozen=True, kw_only=True):
    """Restore a deleted thread, as it was. One that is not deleted stays as it is."""

    named: ClassVar[str] = "RestoreThread"

    thread_id: ThreadId


@final
class AddMessage(Envelope, frozen=True, kw_only=True):
    """Add a message at the end of a thread."""

    named: ClassVar[str] = "AddMessage"

    thread_id: ThreadId
    message: NewMessage


@final
class UpdateMessage(MessageCommand, frozen=True, kw_only=True):
    """Change a message's metadata: ``metadata`` replaces all of it, ``patch`` single keys."""

    named: ClassVar[str] = "UpdateMessage"

    metadata: MetadataIn | UnsetType | None = UNSET
    patch: MetadataPatch | UnsetType = UNSET


@final
class DeleteMessage(MessageCommand, frozen=True, kw_only=True):
    """Delete a message from a thread. Its history stays."""

    named: ClassVar[str] = "DeleteMessage"


@final
class AddItems(Envelope, frozen=True, kw_only=True):
    """Add up to 1,000 items at the end of a thread, in one commit: all of them or none.

    Each is a JSON object with a ``type``, and is kept as it is sent, key for key and digit for digit; one with a
    ``role`` and no type is a message. An item's ``id`` is the caller's own, or, where it has none, one that Clew makes.
    """

    named: ClassVar[str] = "AddItems"

    thread_id: ThreadId
    items: Items


@final
class ReplaceItem(ItemCommand, frozen=True, kw_only=True):
    """Replace an item by another, which takes its id and its place."""

    named: ClassVar[str] = "ReplaceItem"

    item: Item


@final
class DeleteItem(ItemCommand, frozen=True, kw_only=True):
    """Delete an item from a thread. Its history stays, and its id may be used again."""

    named: ClassVar[str] = "DeleteItem"


@final
class PopItem(Envelope, frozen=True, kw_only=True):
    """Delete the newest item of a thread and answer with it; a thread without items stays as it is.

    Unlike other commands it shows what others wrote: permit it to those who may read.
    """

    named: ClassVar[str] = "PopItem"

    thread_id: ThreadId


@final
class ClearItems(ThreadCommand, frozen=True, kw_only=True):
    """Delete all items of a thread, which stays. Their history stays too."""

    named: ClassVar[str] = "ClearItems"

    thread_id: ThreadId


@final
class EraseThread(ThreadCommand, frozen=True, kw_only=True):
    """Erase a thread, deleted or not: what people wrote in it goes from every disk, and its id is never used again.

    ``reason`` is a code, as it is kept for ever: at most 64 letters, digits and ``_.:-``. Where forks show what would
    go, it goes there too: that takes ``forks``.
    """

    named: ClassVar[str] = "EraseThread"

    reason: Code | None = None
    forks: bool = False
    thread_id: ThreadId


@final
class EraseMessage(MessageCommand, frozen=True, kw_only=True):
    """Erase a message, deleted or not, with everything that it ever was. The thread lives on.

    ``reason`` is a code, and ``forks`` allows forks to lose it, as with :class:`EraseThread`.
    """

    named: ClassVar[str] = "EraseMessage"

    reason: Code | None = None
    forks: bool = False


@final
class EraseItem(ItemCommand, frozen=True, kw_only=True):
    """Erase an item of any type, deleted or not, with everything that it ever was. The thread lives on.

    ``reason`` is a code, and ``forks`` allows forks to lose it, as with :class:`EraseThread`.
    """

    named: ClassVar[str] = "EraseItem"

    reason: Code | None = None
    forks: bool = False


@final
class PlaceHold(HoldCommand, frozen=True, kw_only=True):
    """Place a legal hold on a thread, deleted or not: nothing of it can be erased until all its holds are released.

    ``hold`` is the name of the hold, a code that is kept for ever: at most 64 letters, digits and ``_.:-``. A hold that
    the thread has already stays as it is.
    """

    named: ClassVar[str] = "PlaceHold"

    thread_id: ThreadId
    hold: Code


@final
class ReleaseHold(HoldCommand, frozen=True, kw_only=True):
    """Release the legal hold of this name on a thread. Other holds stay."""

    named: ClassVar[str] = "ReleaseHold"

    thread_id: ThreadId
    hold: Code


@final
class SetRetention(TenantCommand, frozen=True, kw_only=True):
    """Set the policy of retention of this name, a code, in place of one that has it: it deletes or erases old threads.

    It is for the threads that match ``where``, or for all, once they are ``after_days`` old, counted since they were
    ``created`` here or last ``changed``, or since the ``original`` of one that was imported was created. Held threads
    are left out. ``then`` says whether they are deleted or erased; ``erase_after_days``, only with ``delete``, that
    they are erased so many days later. A policy for all threads there are takes ``confirm``.
    """

    named: ClassVar[str] = "SetRetention"

    name: Code
    after_days: Days
    since: Anchor
    then: Disposal
    erase_after_days: Days | None = None
    where: Condition | None = None
    confirm: bool = False


@final
class RemoveRetention(TenantCommand, frozen=True, kw_only=True):
    """Remove the policy of retention of this name. What it has deleted or erased stays so."""

    named: ClassVar[str] = "RemoveRetention"

    name: Code


@final
class PlaceStandingHold(TenantCommand, frozen=True, kw_only=True):
    """Place a standing legal hold of this name on all threads that match ``where``, now and later, deleted or not.

    Nothing of them can be erased while they match, until it is released. ``hold`` is a code, as in :class:`PlaceHold`.
    """

    named: ClassVar[str] = "PlaceStandingHold"

    hold: Code
    where: Condition


@final
class ReleaseStandingHold(TenantCommand, frozen=True, kw_only=True):
    """Release the standing legal hold of this name. Holds of this name on single threads stay."""

    named: ClassVar[str] = "ReleaseStandingHold"

    hold: Code


@final
class CompleteErasure(ThreadCommand, frozen=True, kw_only=True):
    """Record that an erasure is completed. Clew's own worker sends it; nobody else can.

    ``certificate`` is the SHA-256 of the signed certificate.
    """

    named: ClassVar[str] = "CompleteErasure"

    thread_id: ThreadId
    erasure: str
    certificate: str


OnThread = (
    CreateThread
    | ForkThread
    | UpdateThread
    | DeleteThread
    | RestoreThread
    | AddMessage
    | UpdateMessage
    | DeleteMessage
    | AddItems
    | ReplaceItem
    | DeleteItem
    | PopItem
    | ClearItems
    | EraseThread
    | EraseMessage
    | EraseItem
    | PlaceHold
    | ReleaseHold
    | CompleteErasure
)
"""The commands that are decided on a thread."""
ErasureCommand = EraseThread | EraseMessage | EraseItem
"""The commands that erase contents, which legal holds forbid."""
OnTenant = SetRetention | RemoveRetention | PlaceStandingHold | ReleaseStandingHold
"""The commands that are decided on a tenant's own history."""
Command = OnThread | OnTenant
OWN: Final = (CompleteErasure,)
"""The commands that Clew's own parts send, and no caller can."""


def extract_metadata(command: Command) -> Metadata | UnsetType:
    """Return the metadata that a command itself sets on the thread or message; UNSET if it sets none."""
    match command:
        case CreateThread():
            return UNSET if command.metadata is None else command.metadata
        case AddMessage():
            return UNSET if command.message.metadata is None else command.message.metadata
        case ForkThread():
            return command.metadata if isinstance(command.metadata, UnsetType) else command.metadata or {}
        case UpdateThread() | UpdateMessage():
            if isinstance(command.patch, MetadataPatch):
                return command.patch.set or UNSET
            return command.metadata if isinstance(command.metadata, UnsetType) else command.metadata or {}
        case DeleteThread() | RestoreThread() | DeleteMessage():
            return UNSET
        case AddItems() | ReplaceItem() | DeleteItem() | PopItem() | ClearItems():
            return UNSET
        case EraseThread() | EraseMessage() | EraseItem() | CompleteErasure() | PlaceHold() | ReleaseHold():
            return UNSET
        case TenantCommand():
            return UNSET
        case _:
            assert_never(command)


_CANONICAL: Final = msgspec.json.Encoder(order="deterministic")
_DIGITS: Final = 32


def digest(command: Command, salt: str) -> str:
    """A salted hash of what a command requests: the salt, a full stop and 32 hex digits.

    The command is hashed in canonical form (fields in the order of the type, keys sorted, defaults omitted, items
    without white space) without ``id``, ``actor``, ``reason`` and ``reply_to``, so a repeat over another route or by
    another client has the same digest under the same salt.
    """
    request = msgspec.structs.replace(command, id=None, actor=None, reason=None, reply_to=None)
    body = _CANONICAL.encode(request)
    if command.items is not None if isinstance(command, CreateThread) else isinstance(command, AddItems | ReplaceItem):
        body = msgspec.json.format(body, indent=-1)
    salted = b"\x00".join((salt.encode(), command.named.encode(), body))
    return f"{salt}.{hashlib.sha256(salted).hexdigest()[:_DIGITS]}"


def has_digest(command: Command, stored: str) -> bool:
    """Whether a command requests what the command with a stored digest did."""
    return digest(command, stored.partition(".")[0]) == stored
