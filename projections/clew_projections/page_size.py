"""How many bytes a page has. Where its items would have more, it has fewer of them, and says that there are more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeVar

import msgspec

from clew_projections.views import ItemView

T = TypeVar("T")

PAGE_BYTES: Final = 4 * 1024 * 1024
"""The most bytes of the items of a page; it has at least one item."""
AROUND: Final = 4096
"""Bytes of a reply that are kept free for what stands around the items."""

PageBytes = Callable[[], int]
"""Returns the most bytes of the items of a page, as things are now."""


def default_page_bytes() -> int:
    """Return :data:`PAGE_BYTES`: where a page need not fit into one message."""
    return PAGE_BYTES


class PageSize:
    """Counts the bytes of a page's items. The first item is taken whatever its size."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._bytes = 0
        self._count = 0

    def take(self, size: int) -> bool:
        """Count an item of so many bytes; whether the page has room for it. What does not fit is not counted."""
        size += self._bytes
        if size > self._most and self._count:
            return False
        self._bytes = size
        self._count += 1
        return True

    def estimate_rest(self, most: int) -> int:
        """Return how many more items to read: those that fit, by the sizes so far, and one more; ``most`` at most."""
        if not self._bytes:
            return most
        return max(1, min(most, (self._most - self._bytes) * self._count // self._bytes + 1))


_ENCODE: Final = msgspec.json.Encoder().encode


class ShownPage(Generic[T]):
    """A page of what is shown of items: at most ``limit``, and fewer if they are long."""

    def __init__(self, limit: int, most: int) -> None:
        self._limit = limit
        self._size = PageSize(most)
        self.data: list[T] = []
        self.ids: list[str] = []
        self.more = False
        """Whether there was one more than the page has room for."""

    def estimate_rest(self, most: int | None = None) -> int:
        """Return how many more to read: those for which there is room, and one more; with ``most``, up to so many."""
        return self._size.estimate_rest(most or self._limit + 1 - len(self.data))

    def take(self, view: ItemView, show: Callable[[ItemView], T | None]) -> None:
        """Take what is shown of the next item, which may be nothing. It is kept with the view: neither ever changes."""
        if self.more:
            return
        kept = view.__dict__.get(show.__name__)
        if kept is None:
            shown = show(view)
            kept = view.__dict__[show.__name__] = (shown, len(_ENCODE(shown)))
        shown, size = kept
        if shown is None:
            return
        if len(self.data) == self._limit or not self._size.take(size):
            self.more = True
            return
        self.data.append(shown)
        self.ids.append(view.id)
