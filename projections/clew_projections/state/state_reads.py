"""The interface for reading current state, from views or from the log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from clew_events.commit import Recorded
from clew_events.subjects import Address
from clew_projections.views import MessageView, SpentId, ThreadView


class CurrentThread(Struct, frozen=True):
    """A thread at some commit, and its commits after sequence ``sure``, which the bucket may not hold yet.

    ``source`` is the reader that made it, which must also read the thread's messages.
    """

    thread: ThreadView
    unprojected: tuple[Recorded, ...]
    sure: int
    source: StateReads


class OlderCommandIds(Struct, frozen=True):
    """The marks of command ids stored outside a thread's view: at least those of all commits up to ``seq``."""

    marks: set[str]
    seq: int


class StateReads(Protocol):
    """Reads threads and their messages. Every method raises ``Corrupt`` for an unreadable history."""

    async def read_cached(self, address: Address) -> CurrentThread:
        """Read a thread as cheaply as possible; it may lag, and is absent if nothing is stored."""

    async def catch_up(self, view: ThreadView) -> ThreadView:
        """Bring a view up to the latest commit."""

    async def read_current(self, address: Address) -> CurrentThread:
        """Read a thread at its latest commit."""

    async def messages(self, current: CurrentThread, ordinals: Sequence[int]) -> dict[int, MessageView]:
        """Read messages by ordinal, none older than ``current``; ordinals never added are left out."""

    async def read_older_ids(self, address: Address) -> OlderCommandIds:
        """Read what is known about the command ids that a thread's view no longer holds."""

    async def find_spent(self, address: Address, command_id: str) -> SpentId | None:
        """Return what is stored about a command id outside a thread's view; ``None`` if nothing is."""
