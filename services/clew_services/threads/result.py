"""The result of a command: the state right after its commit, and a receipt for callers who may not read that."""

from __future__ import annotations

from typing import assert_never

from msgspec import UNSET, Struct
from msgspec.structs import replace

from clew_events.commands import (
    AddMessage,
    Command,
    CompleteErasure,
    HoldCommand,
    MessageCommand,
    OnTenant,
    PlaceStandingHold,
    ReleaseStandingHold,
    RemoveRetention,
    SetRetention,
    ThreadCommand,
    extract_metadata,
)
from clew_events.commit import Commit, Position
from clew_events.erasures import Erasure
from clew_events.events import ThreadEvent
from clew_events.list_reply import FilterHold, RetentionEffect
from clew_events.objects import Gone, HeldThread, Message, MessageReceipt, Thread, ThreadReceipt
from clew_events.replies import Done
from clew_projections.api_objects import content_object, held_thread, message_object, thread_object
from clew_projections.apply import advance_message, deleted_message_ids, message_ids
from clew_projections.views import MessageView, ThreadView
from clew_services.threads.stored_content import parts_of
from clew_services.threads.tenant_rules import retention_effect


class Outcome(Struct, frozen=True, kw_only=True):
    """The outcome of a command: the position of its commit, and its thread or message right after that.

    A command that changed nothing made no commit; ``position`` and ``n`` are then those of the thread's last one.
    """

    position: Position
    n: int
    thread: Thread | None = None
    message: Message | None = None
    deleted: Gone | None = None
    erasure: Erasure | None = None
    held: HeldThread | None = None
    retention: RetentionEffect | None = None
    standing: FilterHold | None = None


def outcome(
    command: Command,
    thread: ThreadView,
    message: MessageView | None,
    position: Position,
    commit: Commit | None = None,
) -> Outcome:
    """The outcome of a command, after which a thread is ``thread``.

    ``message`` is the message concerned as it was before ``commit``, or after it; ``commit`` is ``None`` when nothing
    had to change.
    """
    if commit is not None and (requested := requested_erasure(commit, position)) is not None:
        return Outcome(position=position, n=commit.n, erasure=requested)
    match command:
        case CompleteErasure():
            return Outcome(position=position, n=thread.n)
        case HoldCommand():
            return Outcome(position=position, n=thread.n, held=held_thread(thread))
        case ThreadCommand():
            if thread.status == "deleted":
                return Outcome(position=position, n=thread.n, deleted=Gone(id=thread.id, object="thread.deleted"))
            return Outcome(position=position, n=thread.n, thread=thread_object(thread))
        case SetRetention() | RemoveRetention() | PlaceStandingHold() | ReleaseStandingHold():
            return _ordered(command, Outcome(position=position, n=thread.n))
        case AddMessage() | MessageCommand():
            if commit is not None and (ids := deleted_message_ids(commit)):
                gone = Gone(id=ids[0], object="thread.message.deleted")
                return Outcome(position=position, n=thread.n, deleted=gone)
            return Outcome(position=position, n=thread.n, message=_message(message, commit))
        case _:
            assert_never(command)


def _ordered(command: OnTenant, done: Outcome) -> Outcome:
    match command:
        case SetRetention():
            return replace(done, retention=retention_effect(command))
        case PlaceStandingHold():
            return replace(done, standing=FilterHold(id=command.hold, where=command.where))
        case RemoveRetention():
            return replace(done, deleted=Gone(id=command.name, object="retention.deleted"))
        case ReleaseStandingHold():
            return replace(done, deleted=Gone(id=command.hold, object="hold.deleted"))
        case _:
            assert_never(command)


def requested_erasure(commit: Commit, position: Position | None) -> Erasure | None:
    """The erasure that a commit requests, as it is right after that; ``None`` if it requests none.

    Without a ``position`` the commit is not in the log yet.
    """
    for event in commit.events:
        if isinstance(event, ThreadEvent) and (request := event.request) is not None:
            return Erasure(
                id=request.erasure,
                status="requested",
                thread_id=commit.thread,
                message_id=request.items[0] if request.items else None,
                code=request.code,
                actor=commit.actor,
                by=commit.by,
                n=commit.n if position is not None else None,
                position=position,
                requested_at=commit.at,
            )
    return None


def receipt(command: Command, outcome: Outcome) -> Done:
    """The receipt of a command: its outcome, with no texts or metadata except those of the command itself."""
    thread = message = None
    metadata = extract_metadata(command)
    if (at := outcome.thread) is not None:
        thread = ThreadReceipt(id=at.id, created_at=at.created_at, version=outcome.n, metadata=metadata)
    if (said := outcome.message) is not None:
        content = content_object(parts_of(command.message)) if isinstance(command, AddMessage) else UNSET
        message = MessageReceipt(
            id=said.id, created_at=said.created_at, version=outcome.n, content=content, metadata=metadata
        )
    return Done(
        position=outcome.position,
        n=outcome.n,
        thread=thread,
        message=message,
        deleted=outcome.deleted,
        erasure=outcome.erasure,
        held=outcome.held,
        retention=outcome.retention,
        standing=outcome.standing,
    )


def _message(before: MessageView | None, commit: Commit | None) -> Message:
    after = before
    if commit is not None:
        (message_id,) = message_ids(commit)
        after = advance_message(before, message_id, commit)
    if after is None:
        raise AssertionError("a command about a message leaves one")
    return message_object(after)
