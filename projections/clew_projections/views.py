"""Views: the values in the buckets. A stored format: documented JSON that any NATS client may read.

A view is the fold of a thread's commits up to number ``n``. It carries the sequence and the hash of its last commit, so
a reader can request exactly the later commits from the log and check that they continue the same chain.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import msgspec
from msgspec import Struct

from clew_events.codec import UNREADABLE
from clew_events.content import Attachment, Metadata, Part, Role
from clew_events.errors import Corrupt
from clew_projections.fold import ThreadState


class SpentId(Struct, frozen=True, array_like=True):
    """The id of a command that was carried out, and the sequence of its commit."""

    id: str
    seq: int


class ThreadView(ThreadState, frozen=True, kw_only=True):
    """The value under ``<tenant>.<thread>`` in the bucket of threads.

    ``created_at`` and ``updated_at`` are the times of the first and latest commit. ``commands`` are the ids behind the
    last 100 commits, oldest first: the last entry is for commit ``n``, the one before for ``n - 1``. A deleted thread
    keeps its view, with ``status`` ``deleted``.
    """

    id: str
    tenant: str
    n: int = 0
    seq: int = 0
    hash: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    commands: tuple[SpentId, ...] = ()

    def find_spent(self, command_id: str) -> tuple[int, SpentId] | None:
        """Return the number of the commit made under a command id and its entry; ``None`` if the view has none."""
        for back, spent in enumerate(reversed(self.commands)):
            if spent.id == command_id:
                return self.n - back, spent
        return None


class MessageView(Struct, frozen=True, kw_only=True):
    """The value under ``<tenant>.<thread>.<ordinal>`` in the bucket of messages.

    ``n`` is the number of the thread's commit that last changed this message. ``erasure`` is the id of the erasure that
    took its contents.
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
    erasure: str | None = None


def absent(tenant: str, thread: str) -> ThreadView:
    """Return the view of a thread before its first commit."""
    return ThreadView(id=thread, tenant=tenant)


_ENCODER: Final = msgspec.json.Encoder()
_THREAD: Final = msgspec.json.Decoder(ThreadView)
_MESSAGE: Final = msgspec.json.Decoder(MessageView)


def encode(view: ThreadView | MessageView) -> bytes:
    """Return the bytes that a bucket stores."""
    return _ENCODER.encode(view)


def decode_thread(body: bytes) -> ThreadView:
    """Decode a thread's view from its bytes in the bucket.

    Raises:
        Corrupt: the bytes are not a view of a thread. A rebuild makes the bucket again from the log.
    """
    try:
        return _THREAD.decode(body)
    except UNREADABLE as fault:
        raise Corrupt(f"not a view of a thread: {fault}", code="unreadable_view") from fault


def decode_message(body: bytes) -> MessageView:
    """Decode a message's view from its bytes in the bucket.

    Raises:
        Corrupt: the bytes are not a view of a message. A rebuild makes the bucket again from the log.
    """
    try:
        return _MESSAGE.decode(body)
    except UNREADABLE as fault:
        raise Corrupt(f"not a view of a message: {fault}", code="unreadable_view") from fault
