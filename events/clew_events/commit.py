"""A commit: the events of one accepted command, all or nothing, stored as one JetStream message.

The fields and their order are a stored format. ``prev`` chains a thread's commits: it is the SHA-256 of the previous
commit's stored body, so whoever holds the raw bodies can check a history with nothing else at hand.
"""

from __future__ import annotations

import hashlib
from datetime import datetime
from typing import Final

from msgspec import Struct

from clew_events.events import Event

FORMAT: Final = 1


class Position(Struct, frozen=True):
    """Where in the whole log something stands: the shard, and the sequence within that shard's stream."""

    shard: int
    seq: int


class Commit(Struct, frozen=True, kw_only=True):
    """The events of one accepted command.

    ``id`` and ``digest`` say which command, ``actor`` who asked, ``n`` counts a thread's commits from 1, ``at`` is the
    writer's clock in UTC and never goes backwards within a thread, ``prev`` is null for ``n`` 1.
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
    """A commit together with where it was found and the hash of the exact bytes that were found there.

    ``trace`` is the W3C ``traceparent`` it was stored with, if it was with one that is well formed.
    """

    commit: Commit
    position: Position
    hash: str
    trace: str | None = None

    @property
    def trace_id(self) -> str | None:
        """The trace that the command belonged to, in 32 hex digits."""
        return self.trace.split("-")[1] if self.trace is not None else None


def body_hash(body: bytes) -> str:
    """The hash by which the next commit names this one: 64 hex digits over the stored bytes as they are."""
    return hashlib.sha256(body).hexdigest()
