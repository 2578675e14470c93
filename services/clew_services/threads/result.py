"""The result of a command: the state right after its commit, and a receipt for callers who may not read that."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from msgspec import UNSET, Raw, Struct, UnsetType
from msgspec.structs import replace

from clew_events.commands import (
    AddItems,
    AddMessage,
    Command,
    CompleteErasure,
    DeleteItem,
    DeleteMessage,
    ErasureCommand,
    HoldCommand,
    OnTenant,
    PlaceStandingHold,
    PopItem,
    ReleaseStandingHold,
    RemoveRetention,
    ReplaceItem,
    SetRetention,
    ThreadCommand,
    UpdateMessage,
    extract_metadata,
)
from clew_events.commit import Commit, Position
from clew_events.erasures import Erasure
from clew_events.events import ThreadEvent
from clew_events.list_reply import FilterHold, RetentionEffect
from clew_events.objects import Gone, HeldThread, ItemsReceipt, Message, MessageReceipt, Thread, ThreadReceipt
from clew_events.replies import Done
from clew_projections.api_objects import content_object, held_thread, item_object, message_object, thread_object
from clew_projections.apply import advance_items
from clew_projections.views import ItemView, ThreadView
from clew_services.threads.stored_content import parts_of


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
    items: tuple[Raw, ...] | None = None
    """The items that the command added, or put in the place of another."""
    item_ids: tuple[str, ...] = ()
    popped: Raw | UnsetType = UNSET


def outcome(  # noqa: C901 - one case a command
    command: Command,
    thread: ThreadView,
    items: Sequence[ItemView],
    position: Position,
    commit: Commit | None = None,
) -> Outcome:
    """The outcome of a command, after which a thread is ``thread``.

    ``items`` are those concerned as they were before ``commit``, or after it; ``commit`` is ``None`` when nothing had
    to change. That of ``PopItem`` is as it was before.
    """
    if isinstance(command, ErasureCommand):
        requested = requested_erasure(commit, position) if commit is not None else None
        if requested is None:
            raise AssertionError("an erasure makes a commit that requests it")
        return Outcome(position=position, n=thread.n, erasure=requested)
    match command:
        case AddMessage() | UpdateMessage():
            message = _added(commit)[0] if isinstance(command, AddMessage) else _changed(items, commit)
            return Outcome(position=position, n=thread.n, message=message_object(message))
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
        case PopItem():
            popped = item_object(items[-1]) if items else UNSET
            return Outcome(position=position, n=thread.n, popped=popped)
        case AddItems() | ReplaceItem():
            after = _added(commit) if isinstance(command, AddItems) else (_changed(items, commit),)
            objects = tuple(map(item_object, after))
            return Outcome(position=position, n=thread.n, items=objects, item_ids=tuple(item.id for item in after))
        case DeleteMessage() | DeleteItem():
            there = thread_object(thread) if isinstance(command, DeleteItem) else None
            gone = Gone(
                id=command.about,
                object="thread.message.deleted" if isinstance(command, DeleteMessage) else "thread.item.deleted",
            )
            return Outcome(position=position, n=thread.n, thread=there, deleted=gone)
        case _:
            assert_never(command)


def _ordered(command: OnTenant, done: Outcome) -> Outcome:
    match command:
        case SetRetention():
            return done  # What it is about is measured by the handler.
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
        items=ItemsReceipt(id=command.thread_id, version=outcome.n, ids=outcome.item_ids)
        if isinstance(command, AddItems | ReplaceItem)
        else None,
        popped=outcome.popped,
    )


def _added(commit: Commit | None) -> tuple[ItemView, ...]:
    return tuple(advance_items({}, commit).values()) if commit is not None else ()


def _changed(items: Sequence[ItemView], commit: Commit | None) -> ItemView:
    """The item that a command changed, as it is after its commit."""
    (item,) = items[-1:]
    return advance_items({item.ordinal: item}, commit).get(item.ordinal, item) if commit is not None else item
