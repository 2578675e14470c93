"""How many bytes a page has. Where its items would have more, it has fewer of them, and says that there are more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

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
        if self._count and self._bytes + size > self._most:
            return False
        self._bytes += size
        self._count += 1
        return True

    def estimate_rest(self, most: int) -> int:
        """Return how many more items to read: those that fit, by the sizes so far, and one more; ``most`` at most."""
        if not self._bytes:
            return most
        return max(1, min(most, (self._most - self._bytes) * self._count // self._bytes + 1))
