"""The outcome of a command: the state right after its commit, and the receipt for callers who may not read it."""

from __future__ import annotations

from typing import assert_never

from msgspec import UNSET, Struct, UnsetType

from clew_events.commands import (
    AddMessage,
    Command,
    CreateThread,
    DeleteMessage,
    DeleteThread,
    UpdateMessage,
    UpdateThread,
)
from clew_events.commit import Commit, Position
from clew_events.content import Metadata
from clew_events.objects import Gone, Message, MessageReceipt, Thread, ThreadReceipt
from clew_events.replies import Done
from clew_events.requests import MetadataPatch
from clew_projections.api_objects import content_object, message_object, thread_object
from clew_projections.apply import advance_message, message_ids
from clew_projections.views import MessageView, ThreadView
from clew_services.threads.stored_content import parts_of


class Outcome(Struct, frozen=True, kw_only=True):
    """The outcome of a command, or of its first run: its commit's position, and the object concerned as of then.

    A command that changed nothing has no commit; ``position`` and ``n`` are then those of the thread's last commit.
    """

    position: Position
    n: int
    thread: Thread | None = None
    message: Message | None = None
    deleted: Gone | None = None


def outcome(
    command: Command,
    thread: ThreadView,
    message: MessageView | None,
    position: Position,
    commit: Commit | None = None,
) -> Outcome:
    """The outcome of a command after which the thread's view is ``thread``.

    ``message`` is the message concerned, before or after ``commit``; ``commit`` is ``None`` if nothing changed.
    """
    match command:
        case CreateThread() | UpdateThread():
            return Outcome(position=position, n=thread.n, thread=thread_object(thread))
        case DeleteThread():
            return Outcome(position=position, n=thread.n, deleted=Gone(id=thread.id, object="thread.deleted"))
        case AddMessage() | UpdateMessage():
            return Outcome(position=position, n=thread.n, message=_message(message, commit))
        case DeleteMessage():
            gone = Gone(id=command.message_id, object="thread.message.deleted")
            return Outcome(position=position, n=thread.n, deleted=gone)
        case _:
            assert_never(command)


def receipt(command: Command, outcome: Outcome) -> Done:
    """The receipt of a command; of texts and metadata it has only what this command itself set."""
    thread = message = None
    metadata = _metadata_set_by(command)
    if (created := outcome.thread) is not None:
        thread = ThreadReceipt(id=created.id, created_at=created.created_at, version=outcome.n, metadata=metadata)
    if (stored := outcome.message) is not None:
        content = content_object(parts_of(command.message)) if isinstance(command, AddMessage) else UNSET
        message = MessageReceipt(
            id=stored.id, created_at=stored.created_at, version=outcome.n, content=content, metadata=metadata
        )
    return Done(position=outcome.position, n=outcome.n, thread=thread, message=message, deleted=outcome.deleted)


def _metadata_set_by(command: Command) -> Metadata | UnsetType:
    match command:
        case CreateThread():
            return UNSET if command.metadata is None else command.metadata
        case AddMessage():
            return UNSET if command.message.metadata is None else command.message.metadata
        case UpdateThread() | UpdateMessage():
            if isinstance(command.patch, MetadataPatch):
                return command.patch.set or UNSET
            return command.metadata if isinstance(command.metadata, UnsetType) else command.metadata or {}
        case DeleteThread() | DeleteMessage():
            return UNSET
        case _:
            assert_never(command)


def _message(before: MessageView | None, commit: Commit | None) -> Message:
    after = before
    if commit is not None:
        (message_id,) = message_ids(commit)
        after = advance_message(before, message_id, commit)
    if after is None:
        raise AssertionError("a command about a message leaves one")
    return message_object(after)
