"""The interface for reading current state, from views or from the log.

Pages of items are pure arithmetic on ordinals; deleted items leave gaps.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from msgspec import Struct

from clew_events.commit import Recorded
from clew_events.queries import Order
from clew_events.subjects import Address
from clew_projections.views import ItemView, SpentId, StoredView, ThreadView


class Span(Struct, frozen=True):
    """A range of ordinals, both ends included, and the order in which they are read."""

    first: int
    last: int
    order: Order

    def next_places(self, count: int) -> range:
        """Return the next ``count`` ordinals in order, fewer at the end."""
        if self.order == "asc":
            return range(self.first, min(self.last, self.first + count - 1) + 1)
        return range(self.last, max(self.first, self.last - count + 1) - 1, -1)

    def without(self, places: range) -> Span:
        """Return the rest of the span after its next ordinals."""
        if self.order == "asc":
            return Span(self.first + len(places), self.last, self.order)
        return Span(self.first, self.last - len(places), self.order)

    @property
    def empty(self) -> bool:
        """Whether no ordinal is left."""
        return self.first > self.last

    def goes_back(self, order: Order) -> bool:
        """Whether it is read against the order of the listing, so that the page must be turned round."""
        return self.order != order


def span(last_ordinal: int, order: Order, after: int | None, before: int | None) -> Span:
    """Return the ordinals strictly between two cursors of a listing in the given order; either may be ``None``.

    They are read in that order from ``after`` on. With ``before`` alone they are read backwards from there, since the
    page before a cursor is what lies nearest to it.
    """
    low, high = (after, before) if order == "asc" else (before, after)
    last = last_ordinal if high is None else min(high - 1, last_ordinal)
    return Span((low or 0) + 1, last, opposite(order) if before is not None and after is None else order)


def opposite(order: Order) -> Order:
    """Return the other order."""
    return "desc" if order == "asc" else "asc"


class CurrentThread(Struct, frozen=True):
    """A thread at some commit: a stored view with ``tail``, the commits after it.

    ``source`` is the reader that made it, which must also read the thread's items. ``latest`` if the log was asked for
    the thread's latest commit.
    """

    thread: ThreadView
    source: StateReads
    stored: StoredView
    tail: tuple[Recorded, ...] = ()
    latest: bool = False


class OlderCommandIds(Struct, frozen=True):
    """The marks of command ids stored outside a thread's view: at least those of all commits up to ``seq``."""

    marks: set[str]
    seq: int


class StateReads(Protocol):
    """Reads threads and their items. Every method raises ``Corrupt`` for an unreadable history."""

    async def read_cached(self, address: Address) -> CurrentThread:
        """Read a thread as cheaply as possible; it may lag, and is absent if nothing is stored."""

    def forget(self, address: Address) -> None:
        """Drop what is cached of a thread."""

    async def catch_up(self, view: ThreadView) -> ThreadView:
        """Bring a view up to the latest commit."""

    async def read_current(self, address: Address) -> CurrentThread:
        """Read a thread at its latest commit."""

    async def items(
        self, current: CurrentThread, ordinals: Sequence[int], *, deleted: bool = False
    ) -> dict[int, ItemView]:
        """Read items by ordinal as of ``current``, deleted ones if asked for; others are left out."""

    async def count(self, current: CurrentThread, ordinals: range) -> int:
        """Count the items that exist among ordinals of ``current``, none of which was cleared."""

    async def find_items(self, current: CurrentThread, items: Collection[str]) -> set[int]:
        """Find the ordinals of the items that were added under some ids, and maybe of others; each id is checked."""

    async def read_older_ids(self, address: Address) -> OlderCommandIds:
        """Read what is known about the command ids that a thread's view no longer holds."""

    async def find_spent(self, address: Address, command_id: str) -> SpentId | None:
        """Return what is stored about a command id outside a thread's view; ``None`` if nothing is."""
