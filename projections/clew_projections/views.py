"""Views: what the buckets store. Documented JSON that any NATS client may read, and a stored format.

A view is the fold of a thread's commits up to number ``n``. It carries where it stands (``seq``, the hash of the last
commit), so whoever holds one can ask the log for exactly what came after, and check that it continues the same chain.
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
