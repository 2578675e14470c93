"""The commands, one method each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from msgspec import UNSET, Raw, UnsetType

from clew_events.client.list_options import as_condition
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
    CreateThread,
    DeleteItem,
    DeleteMessage,
    DeleteThread,
    EraseItem,
    EraseMessage,
    EraseThread,
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


class CommandMethods(Caller):
    """Changes threads and messages.

    Every method executes one command and returns where its commit is in the log and what it concerned. With
    ``expected_version``, a thread at any other version is a conflict. Each call sends its command under one id and
    retries it under that id, so it is executed once however often it is sent. Give ``command_id`` to extend that over
    several calls, for example if your process may restart in between. A ``reason`` is stored with the commit.

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
                items=tuple(map(as_item, items)) or None,
                metadata=None if metadata is None else dict(metadata),
                tool_resources=tool_resources,
                expires_after=expires_after,
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
        expected_version: int | None = None,
        command_id: str | None = None,
        reason: str | None = None,
    ) -> ThreadDone:
        """Replace a thread's metadata, tool resources or expiry. None clears; what is omitted stays as it is."""
        return await self._execute(
            UpdateThread(
                id=command_id,
                reason=reason,
                thread_id=thread_id,
                metadata=dict(metadata) if isinstance(metadata, Mapping) else metadata,
                tool_resources=tool_resources,
                expires_after=expires_after,
                expected_version=expected_version,
            ),
            ThreadDone,
        )

    async def patch_metadata(
        self,
        thread_id: str,
        *,
        set: Mapping[str, str] | None = None,  # noqa: A002 - the wire's own word
        unset: Sequence[str] = (),
        expected_version: int | None = None,
        command_id: str | None = None,
        reason: str | None = None,
    ) -> ThreadDone:
        """Set and remove single metadata keys of a thread. All other keys stay as they are."""
        patch = MetadataPatch(set=dict(set or {}), unset=tuple(unset))
        command = UpdateThread(
            id=command_id, reason=reason, thread_id=thread_id, patch=patch, expected_version=expected_version
        )
        return await self._execute(command, ThreadDone)

    async def delete_thread(
        self,
        thread_id: str,
        *,
        expected_version: int | None = None,
        command_id: str | None = None,
        reason: str | None = None,
    ) -> GoneDone:
        """Delete a thread. Its history stays, and it can be restored until it is erased."""
        command = DeleteThread(id=command_id, reason=reason, thread_id=thread_id, expected_version=expected_version)
        return await self._execute(command, GoneDone)

    async def restore_thread(
        self,
        thread_id: str,
        *,
        expected_version: int | None = None,
        command_id: str | None = None,
        reason: str | None = None,
    ) -> ThreadDone:
        """Restore a deleted thread, as it was. One that is not deleted stays as it is.

        Raises:
            AlreadyErased: it was erased.
        """
        command = RestoreThread(id=command_id, reason=reason, thread_id=thread_id, expected_version=expected_version)
        return await self._execute(command, ThreadDone)

    async def add_message(
        self,
        thread_id: str,
        message: NewMessage | str,
        *,
        role: Role | None = None,
        expected_version: int | None = None,
        command_id: str | None = None,
        reason: str | None = None,
    ) -> MessageDone:
        """Add a message at the end of a thread. A string is the text of a message by ``role``, by default ``user``.

        Raises:
            Invalid: ``role`` is given beside a :class:`~clew_events.requests.NewMessage` of another role.
        """
        return await self._execute(
            AddMessage(
                id=command_id,
                reason=reason,
                thread_id=thread_id,
                message=as_message(message, role),
                expected_version=expected_version,
            ),
            MessageDone,
        )

    async def update_message(
        self,
        thread_id: str,
        message_id: str,
        *,
        metadata: Mapping[str, str] | None,
        expected_version: int | None = None,
        command_id: str | None = None,
        reason: str | None = None,
    ) -> MessageDone:
        """Replace a message's metadata. None clears it."""
        return await self._execute(
            UpdateMessage(
                id=command_id,
                reason=reason,
                thread_id=thread_id,
                message_id=message_id,
                metadata=None if metadata is None else dict(metadata),
                expected_version=expected_version,
            ),
            MessageDone,
        )

    async def patch_message_metadata(
        self,
        thread_id: str,
        message_id: str,
        *,
        set: Mapping[str, str] | None = None,  # noqa: A002 - the wire's own word
        unset: Sequence[str] = (),
        expected_version: int | None = None,
        command_id: str | None = None,
        reason: str | None = None,
    ) -> MessageDone:
        """Set and remove single metadata keys of a message. All other keys stay as they are."""
        command = UpdateMessage(
            id=command_id,
            reason=reason,
            thread_id=thread_id,
            message_id=message_id,
            patch=MetadataPatch(set=dict(set or {}), unset=tuple(unset)),
            expected_version=expected_version,
        )
        return await self._execute(command, MessageDone)

    async def delete_message(
        self,
        thread_id: str,
        message_id: str,
        *,
        expected_version: int | None = None,
        command_id: str | None = None,
        reason: str | None = None,
    ) -> GoneDone:
        """Delete a message from a thread. Its history stays."""
        return await self._execute(
            DeleteMessage(
                id=command_id,
                reason=reason,
                thread_id=thread_id,
                message_id=message_id,
                expected_version=expected_version,
            ),
            GoneDone,
        )

    async def add_items(
        self,
        thread_id: str,
        items: Sequence[Mapping[str, object] | Raw],
        *,
        expected_version: int | None = None,
        command_id: str | None = None,
        reason: str | None = None,
    ) -> ItemsDone:
        """Add items at the end of a thread, in one commit: all of them or none.

        A :class:`msgspec.Raw` is kept as it is, digit for digit. An item without ``id`` gets one.

        Raises:
            AlreadyExists: the thread has an item with one of the ids.
            TooLarge: they are more than one commit can hold.
        """
        command = AddItems(
            id=command_id,
            reason=reason,
            thread_id=thread_id,
            items=tuple(map(as_item, items)),
            expected_version=expected_version,
        )
        return await self._execute(command, ItemsDone)

    async def replace_item(
        self,
        thread_id: str,
        item_id: str,
        item: Mapping[str, object] | Raw,
        *,
        expected_version: int | None = None,
        command_id: str | None = None,
        reason: str | None = None,
    ) -> ItemsDone:
        """Replace an item by another, which takes its id and its place."""
        command = ReplaceItem(
            id=command_id,
            reason=reason,
            thread_id=thread_id,
            item_id=item_id,
            item=as_item(item),
            expected_version=expected_version,
        )
        return await self._execute(command, ItemsDone)

    async def delete_item(
        self,
        thread_id: str,
        item_id: str,
        *,
        expected_version: int | None = None,
        command_id: str | None = None,
        reason: str | None = None,
    ) -> GoneDone:
        """Delete an item of any type from a thread. Its history stays, and its id may be used again."""
        command = DeleteItem(
            id=command_id, reason=reason, thread_id=thread_id, item_id=item_id, expected_version=expected_version
        )
        return await self._execute(command, GoneDone)

    async def pop_item(
        self,
        thread_id: str,
        *,
        expected_version: int | None = None,
        command_id: str | None = None,
        reason: str | None = None,
    ) -> Done:
        """Delete the newest item of a thread, and return it as ``popped``, which is ``UNSET`` if there was none."""
        command = PopItem(id=command_id, reason=reason, thread_id=thread_id, expected_version=expected_version)
        return await self._execute(command, Done)

    async def clear_items(
        self,
        thread_id: str,
        *,
        expected_version: int | None = None,
        command_id: str | None = None,
        reason: str | None = None,
    ) -> ThreadDone:
        """Delete all items of a thread, which stays."""
        command = ClearItems(id=command_id, reason=reason, thread_id=thread_id, expected_version=expected_version)
        return await self._execute(command, ThreadDone)

    async def erase_item(
        self,
        thread_id: str,
        item_id: str,
        *,
        expected_version: int | None = None,
        command_id: str | None = None,
        reason: str | None = None,
    ) -> ErasureDone:
        """Erase an item of any type, deleted or not, with all that it ever was. ``reason`` is as for a thread."""
        command = EraseItem(
            id=command_id, reason=reason, thread_id=thread_id, item_id=item_id, expected_version=expected_version
        )
        return await self._execute(command, ErasureDone)

    async def erase_thread(
        self,
        thread_id: str,
        *,
        expected_version: int | None = None,
        command_id: str | None = None,
        reason: str | None = None,
    ) -> ErasureDone:
        """Erase a thread, deleted or not, for good. ``reason`` is a code, such as ``asked_by_customer``.

        It returns when the erasure is requested: from then on nobody reads what is to be erased.
        """
        command = EraseThread(id=command_id, reason=reason, thread_id=thread_id, expected_version=expected_version)
        return await self._execute(command, ErasureDone)

    async def erase_message(
        self,
        thread_id: str,
        message_id: str,
        *,
        expected_version: int | None = None,
        command_id: str | None = None,
        reason: str | None = None,
    ) -> ErasureDone:
        """Erase a message, deleted or not, with all that it ever was. ``reason`` is a code, as for a thread."""
        return await self._execute(
            EraseMessage(
                id=command_id,
                reason=reason,
                thread_id=thread_id,
                message_id=message_id,
                expected_version=expected_version,
            ),
            ErasureDone,
        )

    async def place_hold(
        self,
        thread_id: str,
        hold: str,
        *,
        expected_version: int | None = None,
        command_id: str | None = None,
        reason: str | None = None,
    ) -> HoldDone:
        """Place a legal hold on a thread, deleted or not: nothing of it can be erased until all holds are released.

        ``hold`` is a code, such as ``case-7``. One that the thread has already stays as it is.

        Raises:
            AlreadyErased: the thread was erased.
        """
        command = PlaceHold(
            id=command_id, reason=reason, thread_id=thread_id, hold=hold, expected_version=expected_version
        )
        return await self._execute(command, HoldDone)

    async def release_hold(
        self,
        thread_id: str,
        hold: str,
        *,
        expected_version: int | None = None,
        command_id: str | None = None,
        reason: str | None = None,
    ) -> HoldDone:
        """Release the legal hold of this name on a thread. Other holds stay.

        Raises:
            NotFound: the thread has no such hold (``hold_not_found``), or does not exist.
        """
        command = ReleaseHold(
            id=command_id, reason=reason, thread_id=thread_id, hold=hold, expected_version=expected_version
        )
        return await self._execute(command, HoldDone)

    async def place_standing_hold(
        self,
        hold: str,
        where: Condition | Mapping[str, object],
        *,
        expected_version: int | None = None,
        command_id: str | None = None,
        reason: str | None = None,
    ) -> StandingHoldDone:
        """Place a standing legal hold on all threads that match ``where``, now and later, deleted or not.

        ``expected_version`` is that of the tenant's own history.

        Raises:
            AlreadyExists: there is a standing hold of this name with another filter (``already_exists``).
        """
        command = PlaceStandingHold(
            id=command_id,
            reason=reason,
            expected_version=expected_version,
            hold=hold,
            where=as_condition(where) or Condition(),
        )
        return await self._execute(command, StandingHoldDone)

    async def release_standing_hold(
        self,
        hold: str,
        *,
        expected_version: int | None = None,
        command_id: str | None = None,
        reason: str | None = None,
    ) -> GoneDone:
        """Release the standing legal hold of this name. Holds of this name on single threads stay.

        Raises:
            NotFound: there is none (``hold_not_found``).
        """
        command = ReleaseStandingHold(id=command_id, reason=reason, expected_version=expected_version, hold=hold)
        return await self._execute(command, GoneDone)

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
        expected_version: int | None = None,
        command_id: str | None = None,
        reason: str | None = None,
    ) -> RetentionDone:
        """Set the policy of retention of this name, in place of one that has it: it deletes or erases old threads.

        It is for the threads that match ``where``, a condition as for :meth:`list_threads`, or for all. The result says
        how many that are now, and which legal holds are on some of them. ``expected_version`` is that of the tenant's
        own history.

        Raises:
            Invalid: it is for all threads of the tenant, and that is not confirmed (``removes_all``).
        """
        command = SetRetention(
            id=command_id,
            reason=reason,
            expected_version=expected_version,
            name=name,
            after_days=after_days,
            since=since,
            then=then,
            erase_after_days=erase_after_days,
            where=as_condition(where),
            confirm=confirm,
        )
        return await self._execute(command, RetentionDone)

    async def remove_retention(
        self,
        name: str,
        *,
        expected_version: int | None = None,
        command_id: str | None = None,
        reason: str | None = None,
    ) -> GoneDone:
        """Remove the policy of retention of this name. What it has deleted or erased stays so.

        Raises:
            NotFound: there is none (``retention_not_found``).
        """
        command = RemoveRetention(id=command_id, reason=reason, expected_version=expected_version, name=name)
        return await self._execute(command, GoneDone)


def as_item(item: Mapping[str, object] | Raw) -> Raw:
    """The text of an item; a text is kept as it is."""
    return item if isinstance(item, Raw) else Raw(msgspec.json.encode(item))


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
