"""What comes back over NATS: ``{"ok": …}`` or ``{"error": …}``, never both.

Whoever may command may not be allowed to read, so the reply to a command says what came of it and repeats what the
command itself said, and nothing else of the thread. A repeated command is answered as the first was: with the commit
it made, however far the thread has come since.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Final, Generic, Literal, TypeVar

from msgspec import Struct

from clew_events.audit_replies import Blame, Difference, Then
from clew_events.checkpoint_messages import CheckpointPage, KeptProof, SignedCheckpoint
from clew_events.commit import Commit, Position
from clew_events.errors import Fault
from clew_events.list_reply import ThreadList
from clew_events.objects import Gone, Message, MessagePage, MessageReceipt, Thread, ThreadReceipt

T = TypeVar("T")


class Done(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A command that was carried out, or had been: where its commit stands, and what it concerned.

    A command that changed nothing made no commit; ``position`` and ``n`` are then those of the thread's last one.
    """

    position: Position
    n: int
    thread: ThreadReceipt | None = None
    message: MessageReceipt | None = None
    deleted: Gone | None = None


class Found(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The answer to a query about the present: the state after the thread's commit ``n``."""

    position: Position
    n: int
    thread: Thread | None = None
    message: Message | None = None
    messages: MessagePage | None = None


class Entry(Struct, frozen=True, kw_only=True):
    """One commit of a history, with its place in the log and the hash of its stored body.

    ``id`` is a cursor: where a page ended, or is to end. ``trace_id`` is that of the W3C trace context in which the
    command came, if it came in one.
    """

    id: str
    position: Position
    hash: str
    trace_id: str | None = None
    commit: Commit


class MissingCommits(Struct, frozen=True, kw_only=True):
    """Commits that a thread had and the log has not, from number ``first`` to number ``last``."""

    first: int
    last: int


class History(Struct, frozen=True, kw_only=True):
    """A page of a thread's commits in the order asked for.

    ``missing`` has the commits that should stand among these and do not: the log is damaged. ``next`` is the ``start``
    of the page after it and ``cursor`` its ``after``, which is found faster; both are null if there is none. Where
    little of a long history is asked for, a page may have fewer commits than the limit, or none, and still not be the
    last.
    """

    commits: tuple[Entry, ...]
    missing: tuple[MissingCommits, ...] = ()
    next: int | None = None
    cursor: str | None = None


class Moment(Struct, frozen=True, kw_only=True):
    """A thread as it was after commit ``n``, which was made at ``at``; null when it had been deleted by then."""

    position: Position
    n: int
    at: datetime
    thread: Thread | None
    message_count: int


class FeedEntry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A commit in the feed. ``id`` is the cursor after it; ``stored_at`` is when the log took it, which is its order.

    A stored body that cannot be read is given in base64 as ``body``, with the ``fault`` in place of the commit.
    """

    id: str
    object: Literal["thread.commit"] = "thread.commit"
    stored_at: datetime
    position: Position
    hash: str
    trace_id: str | None = None
    commit: Commit | None = None
    fault: Fault | None = None
    body: bytes | None = None


class Feed(Struct, frozen=True, kw_only=True):
    """A page of the feed. ``next`` is always there, and stays a place to go on from when nothing more is there yet."""

    object: Literal["list"] = "list"
    data: tuple[FeedEntry, ...]
    first_id: str | None
    last_id: str | None
    has_more: bool
    next: str


Answer = (
    Found
    | ThreadList
    | History
    | Moment
    | Feed
    | Then
    | Difference
    | Blame
    | CheckpointPage
    | SignedCheckpoint
    | KeptProof
)
"""What any query is answered with."""


class Reply(Struct, Generic[T], frozen=True, omit_defaults=True):
    """The reply to a command or query: its answer as ``ok``, or ``error``."""

    ok: T | None = None
    error: Fault | None = None


ANSWERS: Final[Mapping[str, type[Struct]]] = {
    "get_thread": Reply[Found],
    "list_threads": Reply[ThreadList],
    "list_messages": Reply[Found],
    "get_message": Reply[Found],
    "history": Reply[History],
    "state_at": Reply[Moment],
    "feed": Reply[Feed],
    "messages_at": Reply[Then],
    "message_at": Reply[Then],
    "diff": Reply[Difference],
    "blame": Reply[Blame],
    "list_checkpoints": Reply[CheckpointPage],
    "get_checkpoint": Reply[SignedCheckpoint],
    "proof": Reply[KeptProof],
}
"""The reply to each query, by its name on the wire. The reply to a command is ``Reply[Done]``."""


class Rejection(Struct, frozen=True, kw_only=True):
    """An inbox command that was refused: what it said, byte for byte if it was text, and why.

    ``shortened`` says that the body was too large to be kept whole: then ``body`` is how it begins, ``size`` is how
    many bytes it had, and ``sha256`` is the hash of all of them.
    """

    tenant: str
    command: str
    inbox_seq: int
    id: str | None
    error: Fault
    body: str
    shortened: bool = False
    size: int | None = None
    sha256: str | None = None
