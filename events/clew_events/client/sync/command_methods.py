"""The commands, one method each, as in :mod:`clew_events.client.command_methods`."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from typing import TypeVar

from msgspec import UNSET, UnsetType

from clew_events.client import client
from clew_events.client.results import GoneDone, MessageDone, ThreadDone
from clew_events.client.sync.background import Background
from clew_events.commands import Command
from clew_events.replies import Done
from clew_events.requests import NewMessage, NewToolResources, ToolResourcesIn

T = TypeVar("T")


class Commands:
    """Changes to threads; :class:`clew_events.client.command_methods.Commands` says what they promise and raise."""

    def __init__(self, clew: client.Clew, background: Background) -> None:
        self._clew = clew
        self._background = background

    def _run(self, work: Coroutine[None, None, T]) -> T:
        return self._background.run(work)

    def send(self, command: Command) -> Done:
        """Carry out any command; the methods named after the commands answer more precisely."""
        return self._run(self._clew.send(command))

    def enqueue(self, command: Command) -> int:
        """Leave a command in the inbox, to be carried out when a handler is there; its place in the stream.

        Raises:
            Unavailable: it was not stored, or nobody knows. Leave it again with the same ``id`` in the
            command. With the code ``inbox_full`` it was not: more wait there than may.
        """
        return self._run(self._clew.enqueue(command))

    def create_thread(
        self,
        *,
        messages: Sequence[NewMessage | str] = (),
        metadata: Mapping[str, str] | None = None,
        tool_resources: NewToolResources | None = None,
        thread_id: str | None = None,
        command_id: str | None = None,
    ) -> ThreadDone:
        """Begin a thread, with ``messages`` already in it; a text alone is a message of the user's."""
        return self._run(
            self._clew.create_thread(
                messages=messages,
                metadata=metadata,
                tool_resources=tool_resources,
                thread_id=thread_id,
                command_id=command_id,
            )
        )

    def update_thread(
        self,
        thread_id: str,
        *,
        metadata: Mapping[str, str] | UnsetType | None = UNSET,
        tool_resources: ToolResourcesIn | UnsetType | None = UNSET,
        expected_version: int | None = None,
        command_id: str | None = None,
    ) -> ThreadDone:
        """Replace a thread's metadata or tool resources, or both. None clears; what is left out stays."""
        return self._run(
            self._clew.update_thread(
                thread_id,
                metadata=metadata,
                tool_resources=tool_resources,
                expected_version=expected_version,
                command_id=command_id,
            )
        )

    def patch_metadata(
        self,
        thread_id: str,
        *,
        set: Mapping[str, str] | None = None,  # noqa: A002 - the wire's own word
        unset: Sequence[str] = (),
        expected_version: int | None = None,
        command_id: str | None = None,
    ) -> ThreadDone:
        """Change single metadata keys of a thread and leave the others alone."""
        return self._run(
            self._clew.patch_metadata(
                thread_id, set=set, unset=unset, expected_version=expected_version, command_id=command_id
            )
        )

    def delete_thread(
        self, thread_id: str, *, expected_version: int | None = None, command_id: str | None = None
    ) -> GoneDone:
        """End a thread. Its history stays."""
        return self._run(self._clew.delete_thread(thread_id, expected_version=expected_version, command_id=command_id))

    def add_message(
        self,
        thread_id: str,
        message: NewMessage | str,
        *,
        expected_version: int | None = None,
        command_id: str | None = None,
    ) -> MessageDone:
        """Put a message at the end of a thread; a text alone is a message of the user's."""
        return self._run(
            self._clew.add_message(thread_id, message, expected_version=expected_version, command_id=command_id)
        )

    def update_message(
        self,
        thread_id: str,
        message_id: str,
        *,
        metadata: Mapping[str, str] | None,
        expected_version: int | None = None,
        command_id: str | None = None,
    ) -> MessageDone:
        """Replace a message's metadata; None clears it."""
        return self._run(
            self._clew.update_message(
                thread_id, message_id, metadata=metadata, expected_version=expected_version, command_id=command_id
            )
        )

    def patch_message_metadata(
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
        return self._run(
            self._clew.patch_message_metadata(
                thread_id, message_id, set=set, unset=unset, expected_version=expected_version, command_id=command_id
            )
        )

    def delete_message(
        self,
        thread_id: str,
        message_id: str,
        *,
        expected_version: int | None = None,
        command_id: str | None = None,
    ) -> GoneDone:
        """Take a message out of a thread."""
        return self._run(
            self._clew.delete_message(thread_id, message_id, expected_version=expected_version, command_id=command_id)
        )
