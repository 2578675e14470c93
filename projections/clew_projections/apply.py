"""Advancing: the view after the next commit, and a message's view after a commit that concerns it. Pure.

What does not continue a view is refused: another number, thread, tenant or chain, or a message that cannot be.
"""

from __future__ import annotations

from typing import Final, assert_never

from msgspec.structs import replace

from clew_events.commit import Commit, Recorded
from clew_events.errors import Corrupt
from clew_events.events import Event, MessageAdded, MessageDeleted, MessageEvent, MessageMetadataUpdated, ThreadEvent
from clew_events.ids import is_message_id, ordinal_of
from clew_projections.fold import apply_difference, evolve
from clew_projections.views import MessageView, SpentId, ThreadView

REMEMBERED_COMMANDS: Final = 100


def advance(view: ThreadView, recorded: Recorded) -> ThreadView:
    """The view after the next commit.

    Raises:
        Corrupt: it is not this thread's next commit (another number, thread or tenant, or another chain), or is about
            a message that cannot be.
    """
    commit = recorded.commit
    check_continues(view, recorded)
    for event in commit.events:
        check_message(view, event)
        view = evolve(view, event)
    spent = SpentId(commit.id, commit.digest, recorded.position.seq)
    return replace(
        view,
        n=commit.n,
        seq=recorded.position.seq,
        hash=recorded.hash,
        created_at=view.created_at or commit.at,
        updated_at=commit.at,
        commands=(*view.commands[1 - REMEMBERED_COMMANDS :], spent),
    )


def check_continues(view: ThreadView, recorded: Recorded) -> None:
    """Hold that a commit is the next link of a thread's chain.

    Raises:
        Corrupt: it is not; the message says in what it differs.
    """
    commit = recorded.commit
    wanted = (view.tenant, view.id, view.n + 1, view.hash)
    found = (commit.tenant, commit.thread, commit.n, commit.prev)
    if found == wanted:
        return
    for what, ours, theirs in zip(("tenant", "thread", "n", "prev"), wanted, found, strict=True):
        if ours != theirs:
            raise Corrupt(
                f"thread {view.id}: the commit at sequence {recorded.position.seq} of shard "
                f"{recorded.position.shard} has {what} {theirs!r} where {ours!r} belongs",
                code="broken_chain",
            )


def check_message(view: ThreadView, event: Event) -> None:
    """Hold that a message comes next after those added before, and that a change is about one of these.

    Raises:
        Corrupt: it is not so, or the message's id does not lead to its ordinal, by which its view is found.
    """
    match event:
        case ThreadEvent():
            return
        case MessageAdded(message=message):
            ordinal = view.last_ordinal + 1
            right = message.ordinal == ordinal and is_message_id(message.id) and ordinal_of(message.id) == ordinal
        case MessageMetadataUpdated(message_id=message_id) | MessageDeleted(message_id=message_id):
            right = is_message_id(message_id) and 1 <= ordinal_of(message_id) <= view.last_ordinal
        case _:
            assert_never(event)
    if not right:
        raise Corrupt(
            f"thread {view.id}: commit {view.n + 1} speaks of message {event.message_id!r}, which has no place there",
            code="unknown_message",
        )


def message_ids(commit: Commit) -> tuple[str, ...]:
    """The ids of the messages that a commit adds, changes or deletes, each once."""
    return tuple(dict.fromkeys([event.message_id for event in commit.events if isinstance(event, MessageEvent)]))


def deleted_message_ids(commit: Commit) -> tuple[str, ...]:
    """Return the ids of the messages that a commit deletes."""
    return tuple(
        event.message_id for event in commit.events if isinstance(event, MessageEvent) and event.effect == "deletes"
    )


def adds_message(commit: Commit, message_id: str) -> bool:
    """Return whether a commit adds this message."""
    return any(
        isinstance(event, MessageEvent) and event.effect == "creates" and event.message_id == message_id
        for event in commit.events
    )


def advance_message(view: MessageView | None, message_id: str, commit: Commit) -> MessageView:
    """A message's view after a commit that concerns it; ``None`` is a message not there yet.

    A commit the view already contains changes nothing.

    Raises:
        Corrupt: the commit changes a message that was never added.
    """
    if view is not None and view.id != message_id:
        raise _never_added(commit, message_id)
    if view is not None and commit.n <= view.n:
        return view
    for event in commit.events:
        view = _message_after(view, message_id, commit, event)
    if view is None:
        raise _never_added(commit, message_id)
    return view


def _message_after(view: MessageView | None, message_id: str, commit: Commit, event: Event) -> MessageView | None:
    if isinstance(event, ThreadEvent) or event.message_id != message_id:
        return view
    match event:
        case MessageAdded(message=added):
            return MessageView(
                id=added.id,
                thread=commit.thread,
                ordinal=added.ordinal,
                n=commit.n,
                created_at=commit.at,
                role=added.role,
                content=added.content,
                attachments=added.attachments,
                metadata=added.metadata,
            )
        case MessageMetadataUpdated() if view is not None:
            return replace(view, n=commit.n, metadata=apply_difference(view.metadata, event.set, event.unset))
        case MessageDeleted() if view is not None:
            return replace(view, n=commit.n, content=(), attachments=(), metadata={}, deleted=True)
        case MessageMetadataUpdated() | MessageDeleted():
            return view
        case _:
            assert_never(event)


def _never_added(commit: Commit, message_id: str) -> Corrupt:
    return Corrupt(
        f"thread {commit.thread}: commit {commit.n} changes message {message_id}, which was never added",
        code="unknown_message",
    )
