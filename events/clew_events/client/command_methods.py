"""The commands, one method each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import UNSET, UnsetType

from clew_events.client.results import GoneDone, MessageDone, ThreadDone
from clew_events.client.transport import Caller
from clew_events.commands import (
    AddMessage,
    CreateThread,
    DeleteMessage,
    DeleteThread,
    UpdateMessage,
    UpdateThread,
)
from clew_events.requests import MetadataPatch, NewMessage, NewToolResources, ToolResourcesIn


class CommandMethods(Caller):
    """Changes to threads.

    Every method carries out one command and answers where its commit stands and what it concerned. With
    ``expected_version`` a thread that has come further is a conflict. A command has one id for as long as the
    call lasts and is repeated under it, so it happens once however often it has to be sent; give
    ``command_id`` to make that hold across calls too, for instance when your own process may be restarted in
    between.

    All raise :class:`~clew_events.errors.Rejected` for what must not be sent again unchanged,
    :class:`~clew_events.errors.Conflict` for what should be decided again, and
    :class:`~clew_events.errors.Unavailable` when time is up; its ``outcome_unknown`` says that the command
    may have been carried out, which a repeat under the same ``command_id`` finds out.
    """

    async def create_thread(
        self,
        *,
        messages: Sequence[NewMessage | str] = (),
        metadata: Mapping[str, str] | None = None,
        tool_resources: NewToolResources | None = None,
        thread_id: str | None = None,
        command_id: str | None = None,
    ) -> ThreadDone:
        """Begin a thread, with ``messages`` already in it; a text alone is a message of the user's."""
        return await self._execute(
            CreateThread(
                id=command_id,
                thread_id=thread_id,
                messages=tuple(as_message(message) for message in messages) or None,
                metadata=None if metadata is None else dict(metadata),
                tool_resources=tool_resources,
            ),
            ThreadDone,
        )

    async def update_thread(
        self,
        thread_id: str,
        *,
        metadata: Mapping[str, str] | UnsetType | None = UNSET,
        tool_resources: ToolResourcesIn | UnsetType | None = UNSET,
        expected_version: int | None = None,
        command_id: str | None = None,
    ) -> ThreadDone:
        """Replace a thread's metadata or tool resources, or both. None clears; what is left out stays."""
        return await self._execute(
            UpdateThread(
                id=command_id,
                thread_id=thread_id,
                metadata=dict(metadata) if isinstance(metadata, Mapping) else metadata,
                tool_resources=tool_resources,
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
    ) -> ThreadDone:
        """Change single metadata keys of a thread and leave the others alone."""
        patch = MetadataPatch(set=dict(set or {}), unset=tuple(unset))
        command = UpdateThread(id=command_id, thread_id=thread_id, patch=patch, expected_version=expected_version)
        return await self._execute(command, ThreadDone)

    async def delete_thread(
        self, thread_id: str, *, expected_version: int | None = None, command_id: str | None = None
    ) -> GoneDone:
        """End a thread. Its history stays."""
        command = DeleteThread(id=command_id, thread_id=thread_id, expected_version=expected_version)
        return await self._execute(command, GoneDone)

    async def add_message(
        self,
        thread_id: str,
        message: NewMessage | str,
        *,
        expected_version: int | None = None,
        command_id: str | None = None,
    ) -> MessageDone:
        """Put a message at the end of a thread; a text alone is a message of the user's."""
        return await self._execute(
            AddMessage(
                id=command_id,
                thread_id=thread_id,
                message=as_message(message),
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
    ) -> MessageDone:
        """Replace a message's metadata; None clears it."""
        return await self._execute(
            UpdateMessage(
                id=command_id,
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
    ) -> MessageDone:
        """Change single metadata keys of a message and leave the others alone."""
        command = UpdateMessage(
            id=command_id,
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
    ) -> GoneDone:
        """Take a message out of a thread."""
        return await self._execute(
            DeleteMessage(
                id=command_id,
                thread_id=thread_id,
                message_id=message_id,
                expected_version=expected_version,
            ),
            GoneDone,
        )


def as_message(message: NewMessage | str) -> NewMessage:
    """A message as it was given, or one of the user's with this text."""
    return NewMessage(role="user", content=message) if isinstance(message, str) else message
