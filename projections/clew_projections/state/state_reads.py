"""What reading the present means, wherever it is read from.

Pages of messages are pure arithmetic on ordinals; deleted messages leave empty places.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from msgspec import Struct

from clew_events.commit import Recorded
from clew_events.queries import Order
from clew_events.subjects import Address
from clew_projections.views import MessageView, SpentId, ThreadView


class Span(Struct, frozen=True):
    """The ordinals a page may be taken from, both ends included, and in which order."""

    first: int
    last: int
    order: Order

    def next_places(self, count: int) -> range:
        """The next ``count`` ordinals in order, fewer at the end."""
        if self.order == "asc":
            return range(self.first, min(self.last, self.first + count - 1) + 1)
        return range(self.last, max(self.first, self.last - count + 1) - 1, -1)

    def without(self, places: range) -> Span:
        """What is left after the next places were taken."""
        if self.order == "asc":
            return Span(self.first + len(places), self.last, self.order)
        return Span(self.first, self.last - len(places), self.order)

    @property
    def empty(self) -> bool:
        """Whether no place is left."""
        return self.first > self.last


def span(last_ordinal: int, order: Order, after: int | None, before: int | None) -> Span:
    """The places strictly between two cursors, as seen in the order asked for.

    ``after`` is where a listing in that order left off, ``before`` where it must stop; either may be missing.
    """
    low, high = (after, before) if order == "asc" else (before, after)
    return Span((low or 0) + 1, last_ordinal if high is None else min(high - 1, last_ordinal), order)


class Present(Struct, frozen=True):
    """A thread at some commit, and those of its commits after ``sure``, which the bucket may not hold yet.

    ``by`` is who read it: the thread's messages have to be read there too.
    """

    thread: ThreadView
    unprojected: tuple[Recorded, ...]
    sure: int
    by: StateReads


class Outgrown(Struct, frozen=True):
    """The marks of command ids kept beside a thread's view, at least those of all commits up to ``seq``."""

    marks: set[str]
    seq: int


class StateReads(Protocol):
    """Reads threads and their messages. Everything raises ``Corrupt`` for a history that cannot be read."""

    async def cached_view(self, address: Address) -> Present:
        """A thread as cheaply as it is to be had, which may lag; an absent one if nothing is there."""

    async def caught_up(self, view: ThreadView) -> ThreadView:
        """A view brought up to the latest commit."""

    async def present(self, address: Address) -> Present:
        """A thread at its latest commit, together with what reading its messages takes."""

    async def messages(self, present: Present, ordinals: Sequence[int]) -> dict[int, MessageView]:
        """The messages at some ordinals, of those that were ever added, none older than ``present``."""

    async def outgrown(self, address: Address) -> Outgrown:
        """What is known of the command ids that a thread's view has outgrown."""

    async def spent(self, address: Address, command_id: str) -> SpentId | None:
        """What is kept of a command id beside a thread's view, if anything is."""
