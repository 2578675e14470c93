"""What reading histories takes of whatever holds them: streams on a server, or a pack in a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from clew_projections.jetstream.messages import Stored
from clew_projections.jetstream.reading import PAGE


class Reads(Protocol):
    """Reads messages of streams; see :class:`clew_projections.jetstream.calls.JetStream`, which is one of these."""

    async def after(self, stream: str, subject: str, seq: int, limit: int = PAGE) -> tuple[list[Stored], bool]:
        """Messages on a subject from a sequence on, at most ``limit``, and whether there are more."""

    async def at(self, stream: str, seqs: Sequence[int]) -> list[Stored | None]:
        """The messages at some sequences, each ``None`` if there is none."""

    async def newest(self, stream: str, subject: str, after: int) -> Stored | None:
        """The last message on an exact subject if it stands after a sequence."""

    async def newest_at_leader(self, stream: str, subject: str, after: int) -> Stored | None:
        """The same, as the stream's leader knows it."""

    async def newest_until(self, stream: str, subject: str, seq: int) -> Stored | None:
        """The last message on an exact subject that stands at a sequence or before it."""

    async def from_leader(self, stream: str, request: Mapping[str, object]) -> Stored | None:
        """What the stream's leader gives for a request of ``STREAM.MSG.GET``."""
