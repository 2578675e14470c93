"""Views: what the buckets store. Documented JSON that any NATS client may read, and a stored format.

A view is the fold of a thread's commits up to number ``n``. It carries where it stands (``seq``, the hash of the last
commit), so whoever holds one can ask the log for exactly what came after, and check that it continues the same chain.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from clew_events.codec import UNREADABLE
from clew_events.commit import Commit, Recorded
from clew_events.content import Attachment, Metadata, Part, Role
from clew_events.errors import Corrupt
from clew_events.events import Event, MessageAdded, MessageDeleted, MessageMetadataUpdated
from clew_events.ids import is_message_id, ordinal_of
from clew_projections.fold import ThreadState, apply_difference, evolve

REMEMBERED_COMMANDS: Final = 100


class SpentId(Struct, frozen=True, array_like=True):
    """A command id that was carried out: the digest of what was asked under it, and its commit's sequence."""

    id: str
    digest: str
    seq: int


class ThreadView(ThreadState, frozen=True, kw_only=True):
    """The value under ``<tenant>.<thread>`` in the bucket of threads.

    ``created_at`` and ``updated_at`` are the times of the first and latest commit. ``commands`` are the ids behind the
    last 100 commits, the latest last: its entry stands for commit ``n``, the one before for ``n - 1``. A deleted
    thread keeps its view, with ``status`` ``deleted``.
    """

    id: str
    tenant: str
    n: int = 0
    seq: int = 0
    hash: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    commands: tuple[SpentId, ...] = ()

    def spent(self, command_id: str) -> tuple[int, SpentId] | None:
        """The number of the commit made under a command id, and what is remembered of it, if it is."""
        for back, spent in enumerate(reversed(self.commands)):
            if spent.id == command_id:
                return self.n - back, spent
        return None


class MessageView(Struct, frozen=True, kw_only=True):
    """The value under ``<tenant>.<thread>.<ordinal>`` in the bucket of messages.

    ``n`` is the thread's commit that last changed this message.
    """

    id: str
    thread: str
    ordinal: int
    n: int
    created_at: datetime
    role: Role
    content: tuple[Part, ...]
    attachments: tuple[Attachment, ...] = ()
    metadata: Metadata
    deleted: bool = False


def absent(tenant: str, thread: str) -> ThreadView:
    """The view of a thread that nothing is known of."""
    return ThreadView(id=thread, tenant=tenant)


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
        case MessageAdded():
            message_id, ordinal = event.message.id, event.message.ordinal
            right = ordinal == view.last_ordinal + 1 and is_message_id(message_id) and ordinal_of(message_id) == ordinal
        case MessageMetadataUpdated() | MessageDeleted():
            message_id = event.message_id
            right = is_message_id(message_id) and 1 <= ordinal_of(message_id) <= view.last_ordinal
        case _:
            return
    if not right:
        raise Corrupt(
            f"thread {view.id}: commit {view.n + 1} speaks of message {message_id!r}, which has no place there",
            code="unknown_message",
        )


def touched(commit: Commit) -> tuple[str, ...]:
    """The ids of the messages that a commit adds, changes or deletes, each once."""
    ids: dict[str, None] = {}
    for event in commit.events:
        match event:
            case MessageAdded():
                ids[event.message.id] = None
            case MessageMetadataUpdated() | MessageDeleted():
                ids[event.message_id] = None
            case _:
                pass
    return tuple(ids)


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
        match event:
            case MessageAdded() if event.message.id == message_id:
                added = event.message
                view = MessageView(
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
            case MessageMetadataUpdated() if event.message_id == message_id and view is not None:
                changed = apply_difference(view.metadata, event.set, event.unset)
                view = replace(view, n=commit.n, metadata=changed)
            case MessageDeleted() if event.message_id == message_id and view is not None:
                view = replace(view, n=commit.n, content=(), attachments=(), metadata={}, deleted=True)
            case _:
                pass
    if view is None:
        raise _never_added(commit, message_id)
    return view


def _never_added(commit: Commit, message_id: str) -> Corrupt:
    return Corrupt(
        f"thread {commit.thread}: commit {commit.n} changes message {message_id}, which was never added",
        code="unknown_message",
    )


_ENCODER: Final = msgspec.json.Encoder()
_THREAD: Final = msgspec.json.Decoder(ThreadView)
_MESSAGE: Final = msgspec.json.Decoder(MessageView)


def encode(view: ThreadView | MessageView) -> bytes:
    """The bytes a bucket stores."""
    return _ENCODER.encode(view)


def decode_thread(body: bytes) -> ThreadView:
    """A thread's view from the bucket.

    Raises:
        Corrupt: the bytes are no such view. A rebuild makes the bucket again from the log.
    """
    try:
        return _THREAD.decode(body)
    except UNREADABLE as fault:
        raise Corrupt(f"not a view of a thread: {fault}", code="unreadable_view") from fault


def decode_message(body: bytes) -> MessageView:
    """A message's view from the bucket.

    Raises:
        Corrupt: the bytes are no such view. A rebuild makes the bucket again from the log.
    """
    try:
        return _MESSAGE.decode(body)
    except UNREADABLE as fault:
        raise Corrupt(f"not a view of a message: {fault}", code="unreadable_view") from fault
