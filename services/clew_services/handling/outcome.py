"""What a command's caller is told: the state right after its commit."""

from __future__ import annotations

from typing import assert_never

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
from clew_events.objects import Gone, Message
from clew_events.replies import Done
from clew_projections.advancing import advance_message, touched
from clew_projections.render import message_object, thread_object
from clew_projections.views import MessageView, ThreadView


def outcome(
    command: Command,
    thread: ThreadView,
    message: MessageView | None,
    position: Position,
    commit: Commit | None = None,
) -> Done:
    """The reply to a command that left a thread as ``thread``.

    ``message`` is the message concerned as it was before ``commit``, or after it; ``commit`` is ``None`` when nothing
    had to change.
    """
    match command:
        case CreateThread() | UpdateThread():
            return Done(position=position, n=thread.n, thread=thread_object(thread))
        case DeleteThread():
            return Done(position=position, n=thread.n, deleted=Gone(id=thread.id, object="thread.deleted"))
        case AddMessage() | UpdateMessage():
            return Done(position=position, n=thread.n, message=_message(message, commit))
        case DeleteMessage():
            gone = Gone(id=command.message_id, object="thread.message.deleted")
            return Done(position=position, n=thread.n, deleted=gone)
        case _:
            assert_never(command)


def _message(before: MessageView | None, commit: Commit | None) -> Message:
    after = before
    if commit is not None:
        (message_id,) = touched(commit)
        after = advance_message(before, message_id, commit)
    if after is None:
        raise AssertionError("a command about a message leaves one")
    return message_object(after)
