"""A commit: the events of one accepted command, stored as one JetStream message, so all of them or none.

The fields and their order are a stored format. ``prev`` chains a thread's commits: it is the SHA-256 of the previous
commit's stored body, so a history can be verified from its stored bodies alone.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Final

from msgspec import Struct

from clew_events.events import Event

FORMAT: Final = 1


class Position(Struct, frozen=True):
    """A position in the log: the shard, and the sequence in that shard's stream."""

    shard: int
    seq: int


class Commit(Struct, frozen=True, kw_only=True):
    """The events of one accepted command.

    ``id`` and ``digest`` identify the command, ``actor`` requested it. ``n`` numbers a thread's commits from 1. ``at``
    is the writer's time in UTC and never decreases within a thread. ``prev`` is null for ``n`` 1.
    """

    v: int
    id: str
    tenant: str
    thread: str
    n: int
    at: datetime
    actor: str
    command: str
    digest: str
    prev: str | None
    events: tuple[Event, ...]


class Recorded(Struct, frozen=True):
    """A commit with its position in the log and the hash of its stored body.

    ``trace`` is the W3C ``traceparent`` that was stored with it, or None if there was none or it is not valid. ``size``
    is the number of bytes of the stored body.
    """

    commit: Commit
    position: Position
    hash: str
    trace: str | None = None
    size: int = 0

    @property
    def trace_id(self) -> str | None:
        """The id of the trace that the command belonged to, in 32 hex digits, or None."""
        return self.trace.split("-")[1] if self.trace is not None else None


def body_hash(body: bytes) -> str:
    """The SHA-256 of a stored body in 64 hex digits: the ``prev`` of the next commit."""
    return hashlib.sha256(body).hexdigest()
