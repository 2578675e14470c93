"""A commit: the events of one accepted command, stored as one JetStream message, so all of them or none.

The stored body has a **record** line, which is kept for ever, and **content** lines, which can be erased; see
:mod:`clew_events.codec`. ``prev`` chains a thread's commits: it is the SHA-256 of the previous commit's record, so a
history can be verified from its stored bodies alone, whatever was erased from them.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Final

from msgspec import Struct

from clew_events.events import Event, ForkedFrom, ThreadEvent

FORMAT: Final = 2


class Position(Struct, frozen=True, gc=False):
    """A position in the log: the shard, and the sequence in that shard's stream."""

    shard: int
    seq: int


class Commit(Struct, frozen=True, gc=False, kw_only=True):
    """The events of one accepted command.

    ``id`` identifies the command. ``actor`` is whom the caller named, ``by`` what Clew itself knows of the caller.
    ``n`` numbers a thread's commits from 1. ``at`` is the writer's time in UTC and never decreases within a thread.
    ``prev`` is null for ``n`` 1. ``reason`` is what the caller gave as one; it is content, so ``reason_erased`` tells
    one that was erased from none.
    """

    v: int
    id: str
    tenant: str
    thread: str
    n: int
    at: datetime
    actor: str
    by: str
    command: str
    reason: str | None = None
    reason_erased: bool = False
    prev: str | None
    events: tuple[Event, ...]

    @property
    def requests_erasure(self) -> bool:
        """Whether it requests an erasure: from then on the log shows less of the thread's commits before it."""
        return any(isinstance(event, ThreadEvent) and event.request is not None for event in self.events)

    @property
    def forked_from(self) -> ForkedFrom | None:
        """The commit of another thread that the thread was forked at, if this is the first commit of a fork."""
        first = self.events[0] if self.events else None
        return first.parent if isinstance(first, ThreadEvent) else None


class Recorded(Struct, frozen=True, gc=False):
    """A commit with its position in the log and the hash of its record.

    ``trace`` is the W3C ``traceparent`` that was stored with it, or None if there was none or it is not valid.
    ``digest`` is the salted digest of the command, stored beside the commit; None once contents were erased. ``body``
    is the stored body.
    """

    commit: Commit
    position: Position
    hash: str
    trace: str | None = None
    digest: str | None = None
    body: bytes = b""

    @property
    def size(self) -> int:
        """The number of bytes of the stored body."""
        return len(self.body)

    @property
    def trace_id(self) -> str | None:
        """The id of the trace that the command belonged to, in 32 hex digits, or None."""
        return self.trace.split("-")[1] if self.trace is not None else None


def record_of(body: bytes) -> bytes:
    """The record line of a stored body, without its end: what is hashed. A body without lines is one record."""
    return body.partition(b"\n")[0]


def record_hash(body: bytes) -> str:
    """The SHA-256 of a stored body's record line in 64 hex digits: the ``prev`` of the next commit."""
    return hashlib.sha256(record_of(body)).hexdigest()
