"""The commands, one method each."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final, TypeVar, Unpack

import msgspec
from msgspec import UNSET, Raw, UnsetType

from clew_events.client.method_options import CommandOptions, as_condition, check_options
from clew_events.client.results import (
    ErasureDone,
    GoneDone,
    HoldDone,
    ItemsDone,
    MessageDone,
    RetentionDone,
    StandingHoldDone,
    ThreadDone,
)
from clew_events.client.transport import Caller
from clew_events.commands import (
    AddItems,
    AddMessage,
    ClearItems,
    Command,
    CreateThread,
    DeleteItem,
    DeleteMessage,
    DeleteThread,
    EraseItem,
    EraseMessage,
    EraseThread,
    ForkThread,
    PlaceHold,
    PlaceStandingHold,
    PopItem,
    ReleaseHold,
    ReleaseStandingHold,
    RemoveRetention,
    ReplaceItem,
    RestoreThread,
    SetRetention,
    UpdateMessage,
    UpdateThread,
)
from clew_events.content import Anchor, Disposal, Role
from clew_events.errors import Invalid
from clew_events.list_query import Condition, Kind
from clew_events.replies import Done
from clew_events.requests import ExpiresAfterIn, MetadataPatch, NewMessage, NewToolResources, ToolResourcesIn

T = TypeVar("T")


class CommandMethods(Caller):
    """Changes threads and messages.

    Every method executes one command and returns where its commit is in the log and what it concerned. All take the
    options of a command; :meth:`create_thread` has no ``expected_version``. With it, a thread at any other version is a
    conflict. Each call sends its command under one id and retries it under that id, so it is executed once however
    often it is sent. Give ``command_id`` to extend that over several calls, for example if your process may restart in
    between. A ``reason`` is stored with the commit.

    All raise :class:`~clew_events.errors.Rejected` for a command that must not be sent again unchanged,
    :class:`~clew_events.errors.Conflict` if the thread has changed and the command must be decided again, and
    :class:`~clew_events.errors.Unavailable` on a timeout; if its ``outcome_unknown`` is true, the command may have been
    executed, and a repeat under the same ``command_id`` returns its result.
    """

    async def create_thread(
        self,
        *,
        messages: Sequence[NewMessage | str] = (),
        items: Sequence[Mapping[str, object] | Raw] = (),
        metadata: Mapping[str, str] | None = None,
        tool_resources: NewToolResources | None = None,
        expires_after: ExpiresAfterIn | None = None,
        thread_id: str | None = None,
        kind: Kind = "thread",
        command_id: str | None = None,
        reason: str | None = None,
    ) -> ThreadDone:
        """Create a thread, with ``messages`` in it, or ``items``. A string is a message with the role ``user``.

        With a ``thread_id`` that begins with ``conv_``, or without one of that ``kind``, it is a conversation.
        """
        return await self._execute(
            CreateThread(
                id=command_id,
                reason=reason,
                thread_id=thread_id,
                kind=kind,
                messages=tuple(as_message(message) for message in messages) or None,
                items=_as_items(items) or None,
                metadata=None if metadata is None else dict(metadata),
                tool_resources=tool_resources,
                expires_after=expires_after,
            ),
            ThreadDone,
        )

    async def fork_thread(
        self,
        parent: str,
        *,
        at: int | str | None = None,
        metadata: Mapping[str, str] | UnsetType | None = UNSET,
        thread_id: str | None = None,
        command_id: str | None = None,
        reason: str | None = None,
    ) -> ThreadDone:
        """Create a thread that begins as another, as it is, or ``at`` a version or an item of it; nothing is copied.

        Raises:
            NotFound: the parent does not exist or was deleted, or has no such version or item.
            AlreadyErased: the parent was erased.
        """
        return await self._execute(
            ForkThread(
                id=command_id,
                reason=reason,
                thread_id=thread_id,
                parent=parent,
                at=at,
                metadata=dict(metadata) if isinstance(metadata, Mapping) else metadata,
            ),
            ThreadDone,
        )

    async def update_thread(
        self,
        thread_id: str,
        *,
        metadata: Mapping[str, str] | UnsetType | None = UNSET,
        tool_resources: ToolResourcesIn | UnsetType | None = UNSET,
        expires_after: ExpiresAfterIn | UnsetType | None = UNSET,
        **options: Unpack[CommandOptions],
    ) -> ThreadDone:
        """Replace a thread's metadata, tool resources or expiry. None clears; what is omitted stays as it is."""
        return await self._change(
            UpdateThread(
                thread_id=thread_id,
                metadata=dict(metadata) if isinstance(metadata, Mapping) else metadata,
                tool_resources=tool_resources,
                expires_after=expires_after,
            ),
            ThreadDone,
            options,
        )

    async def patch_metadata(
        self,
        thread_id: str,
        *,
        set: Mapping[str, str] | None = None,  # noqa: A002 - the wire's own word
        unset: Sequence[str] = (),
        **options: Unpack[CommandOptions],
    ) -> ThreadDone:
        """Set and remove single metadata keys of a thread. All other keys stay as they are."""
        patch = MetadataPatch(set=dict(set or {}), unset=tuple(unset))
        return await self._change(UpdateThread(thread_id=thread_id, patch=patch), ThreadDone, options)

    async def delete_thread(self, thread_id: str, **options: Unpack[CommandOptions]) -> GoneDone:
        """Delete a thread. Its history stays, and it can be restored until it is erased."""
        return await self._change(DeleteThread(thread_id=thread_id), GoneDone, options)

    async def restore_thread(self, thread_id: str, **options: Unpack[CommandOptions]) -> ThreadDone:
        """Restore a deleted thread, as it was. One that is not deleted stays as it is.

        Raises:
            AlreadyErased: it was erased.
        """
        return await self._change(RestoreThread(thread_id=thread_id), ThreadDone, options)

    async def add_message(
        self, thread_id: str, message: NewMessage | str, *, role: Role | None = None, **options: Unpack[CommandOptions]
    ) -> MessageDone:
        """Add a message at the end of a thread. A string is the text of a message by ``role``, by default ``user``.

        Raises:
            Invalid: ``role`` is given beside a :class:`~clew_events.requests.NewMessage` of another role.
        """
        return await self._change(
            AddMessage(thread_id=thread_id, message=as_message(message, role)), MessageDone, options
        )

    async def update_message(
        self, thread_id: str, message_id: str, *, metadata: Mapping[str, str] | None, **options: Unpack[CommandOptions]
    ) -> MessageDone:
        """Replace a message's metadata. None clears it."""
        return await self._change(
            UpdateMessage(
                thread_id=thread_id, message_id=message_id, metadata=None if metadata is None else dict(metadata)
            ),
            MessageDone,
            options,
        )

    async def patch_message_metadata(
        self,
        thread_id: str,
        message_id: str,
        *,
        set: Mapping[str, str] | None = None,  # noqa: A002 - the wire's own word
        unset: Sequence[str] = (),
        **options: Unpack[CommandOptions],
    ) -> MessageDone:
        """Set and remove single metadata keys of a message. All other keys stay as they are."""
        patch = MetadataPatch(set=dict(set or {}), unset=tuple(unset))
        command = UpdateMessage(thread_id=thread_id, message_id=message_id, patch=patch)
        return await self._change(command, MessageDone, options)

    async def delete_message(self, thread_id: str, message_id: str, **options: Unpack[CommandOptions]) -> GoneDone:
        """Delete a message from a thread. Its history stays."""
        return await self._change(DeleteMessage(thread_id=thread_id, message_id=message_id), GoneDone, options)

    async def add_items(
        self, thread_id: str, items: Sequence[Mapping[str, object] | Raw], **options: Unpack[CommandOptions]
    ) -> ItemsDone:
        """Add items at the end of a thread, in one commit: all of them or none.

        A :class:`msgspec.Raw` is kept as it is, digit for digit. An item without ``id`` gets one.

        Raises:
            Invalid: they are more than 1,000, or one of them is no item; ``param`` names it, such as ``items[0]``.
            AlreadyExists: the thread has an item with one of the ids.
            TooLarge: they are more than one commit can hold.
        """
        return await self._change(AddItems(thread_id=thread_id, items=_as_items(items)), ItemsDone, options)

    async def replace_item(
        self, thread_id: str, item_id: str, item: Mapping[str, object] | Raw, **options: Unpack[CommandOptions]
    ) -> ItemsDone:
        """Replace an item by another, which takes its id and its place."""
        return await self._change(
            ReplaceItem(thread_id=thread_id, item_id=item_id, item=as_item(item)), ItemsDone, options
        )

    async def delete_item(self, thread_id: str, item_id: str, **options: Unpack[CommandOptions]) -> GoneDone:
        """Delete an item of any type from a thread. Its history stays, and its id may be used again."""
        return await self._change(DeleteItem(thread_id=thread_id, item_id=item_id), GoneDone, options)

    async def pop_item(self, thread_id: str, **options: Unpack[CommandOptions]) -> Done:
        """Delete the newest item of a thread, and return it as ``popped``, which is ``UNSET`` if there was none."""
        return await self._change(PopItem(thread_id=thread_id), Done, options)

    async def clear_items(self, thread_id: str, **options: Unpack[CommandOptions]) -> ThreadDone:
        """Delete all items of a thread, which stays."""
        return await self._change(ClearItems(thread_id=thread_id), ThreadDone, options)

    async def erase_item(
        self, thread_id: str, item_id: str, *, forks: bool = False, **options: Unpack[CommandOptions]
    ) -> ErasureDone:
        """Erase an item of any type, deleted or not, with all that it ever was; see :meth:`erase_thread`."""
        return await self._change(EraseItem(thread_id=thread_id, item_id=item_id, forks=forks), ErasureDone, options)

    async def erase_thread(
        self, thread_id: str, *, forks: bool = False, **options: Unpack[CommandOptions]
    ) -> ErasureDone:
        """Erase a thread, deleted or not, for good. ``reason`` is a code, such as ``asked_by_customer``.

        It returns when the erasure is requested: from then on nobody reads what is to be erased.

        Raises:
            Forked: other threads were forked from it and show its items: with ``forks`` they lose them too.
            Held: a legal hold is on it, or on a fork that shows its items.
        """
        return await self._change(EraseThread(thread_id=thread_id, forks=forks), ErasureDone, options)

    async def erase_message(
        self, thread_id: str, message_id: str, *, forks: bool = False, **options: Unpack[CommandOptions]
    ) -> ErasureDone:
        """Erase a message, deleted or not, with all that it ever was; see :meth:`erase_thread`."""
        command = EraseMessage(thread_id=thread_id, message_id=message_id, forks=forks)
        return await self._change(command, ErasureDone, options)

    async def place_hold(self, thread_id: str, hold: str, **options: Unpack[CommandOptions]) -> HoldDone:
        """Place a legal hold on a thread, deleted or not: nothing of it can be erased until all holds are released.

        ``hold`` is a code, such as ``case-7``. One that the thread has already stays as it is.

        Raises:
            AlreadyErased: the thread was erased.
        """
        return await self._change(PlaceHold(thread_id=thread_id, hold=hold), HoldDone, options)

    async def release_hold(self, thread_id: str, hold: str, **options: Unpack[CommandOptions]) -> HoldDone:
        """Release the legal hold of this name on a thread. Other holds stay.

        Raises:
            NotFound: the thread has no such hold (``hold_not_found``), or does not exist.
        """
        return await self._change(ReleaseHold(thread_id=thread_id, hold=hold), HoldDone, options)

    async def place_standing_hold(
        self, hold: str, where: Condition | Mapping[str, object], **options: Unpack[CommandOptions]
    ) -> StandingHoldDone:
        """Place a standing legal hold on all threads that match ``where``, now and later, deleted or not.

        ``expected_version`` is that of the tenant's own history.

        Raises:
            AlreadyExists: there is a standing hold of this name with another filter (``already_exists``).
        """
        return await self._change(
            PlaceStandingHold(hold=hold, where=as_condition(where) or Condition()), StandingHoldDone, options
        )

    async def release_standing_hold(self, hold: str, **options: Unpack[CommandOptions]) -> GoneDone:
        """Release the standing legal hold of this name. Holds of this name on single threads stay.

        Raises:
            NotFound: there is none (``hold_not_found``).
        """
        return await self._change(ReleaseStandingHold(hold=hold), GoneDone, options)

    async def set_retention(
        self,
        name: str,
        *,
        after_days: int,
        since: Anchor,
        then: Disposal,
        erase_after_days: int | None = None,
        where: Condition | Mapping[str, object] | None = None,
        confirm: bool = False,
        **options: Unpack[CommandOptions],
    ) -> RetentionDone:
        """Set the policy of retention of this name, in place of one that has it: it deletes or erases old threads.

        It is for the threads that match ``where``, a condition as for :meth:`list_threads`, or for all. The result says
        how many that are now, and which legal holds are on some of them. ``expected_version`` is that of the tenant's
        own history.

        Raises:
            Invalid: it is for all threads of the tenant, and that is not confirmed (``removes_all``).
        """
        return await self._change(
            SetRetention(
                name=name,
                after_days=after_days,
                since=since,
                then=then,
                erase_after_days=erase_after_days,
                where=as_condition(where),
                confirm=confirm,
            ),
            RetentionDone,
            options,
        )

    async def remove_retention(self, name: str, **options: Unpack[CommandOptions]) -> GoneDone:
        """Remove the policy of retention of this name. What it has deleted or erased stays so.

        Raises:
            NotFound: there is none (``retention_not_found``).
        """
        return await self._change(RemoveRetention(name=name), GoneDone, options)

    async def _change(self, command: Command, answer: type[T], options: CommandOptions) -> T:
        check_options(options, CommandOptions)
        named = {"id" if name == "command_id" else name: value for name, value in options.items()}
        return await self._execute(msgspec.structs.replace(command, **named), answer)


def as_item(item: Mapping[str, object] | Raw, path: str = "item") -> Raw:
    """The text of an item; a text is kept as it is. ``path`` is its place in the command.

    Raises:
        Invalid: JSON cannot say it: it has a value of an unsupported type, NaN, an infinity or a lone surrogate.
    """
    if isinstance(item, Raw):
        return item
    try:
        return Raw(_ENCODE(item).encode())
    except (TypeError, ValueError, RecursionError) as fault:
        raise Invalid(f"Invalid '{path}': {fault}.", param=path) from None


def _plain(value: object) -> object:
    return dict(value) if isinstance(value, Mapping) else msgspec.to_builtins(value)


_ENCODE: Final = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=_plain).encode


def _as_items(items: Sequence[Mapping[str, object] | Raw]) -> tuple[Raw, ...]:
    return tuple(as_item(item, f"items[{index}]") for index, item in enumerate(items))


def as_message(message: NewMessage | str, role: Role | None = None) -> NewMessage:
    """The message itself, or for a string a message with that text, by ``role`` or else by the user.

    Raises:
        Invalid: the message has another role.
    """
    if isinstance(message, str):
        return NewMessage(role=role or "user", content=message)
    if role not in {None, message.role}:
        raise Invalid(f"Invalid 'role': '{role}'. The message has the role '{message.role}'.", param="role")
    return message
