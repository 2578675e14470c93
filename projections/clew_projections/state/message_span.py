"""Pages of messages by ordinal: cursors, order and bounds. Pure arithmetic; deleted messages leave gaps."""

from __future__ import annotations

from msgspec import Struct

from clew_events.queries import Order


class Span(Struct, frozen=True):
    """A range of ordinals, both ends included, and the order in which a page is taken from it."""

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


def span(last_ordinal: int, order: Order, after: int | None, before: int | None) -> Span:
    """Return the ordinals strictly between two cursors, in the given order.

    ``after`` is where a listing in that order left off, ``before`` where it must stop; either may be ``None``.
    """
    low, high = (after, before) if order == "asc" else (before, after)
    return Span((low or 0) + 1, last_ordinal if high is None else min(high - 1, last_ordinal), order)
