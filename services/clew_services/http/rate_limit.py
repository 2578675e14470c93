"""How fast the holder of a key may ask: so many requests a second, and for a moment more in a row."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Final

from clew_services.api_keys import Holder

LONGEST_WAIT: Final = 60
"""Seconds that a caller is asked to wait at most: clients give up on being told more."""


class RateLimit:
    """A bucket for each key that takes ``burst`` requests and empties at ``rate`` a second. A rate of 0 is no limit.

    All that is kept of a bucket is when it will be empty. This process counts what reaches this process.
    """

    def __init__(self, rate: int, burst: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self._each = 1 / rate if rate else 0.0
        self._room = (burst or rate) * self._each
        self._clock = clock
        self._empty: dict[tuple[str, str], float] = {}

    def wait(self, holder: Holder) -> int | None:
        """Count one request, or say after how many whole seconds there will be room for it."""
        if not self._each:
            return None
        key, now = (holder.tenant, holder.actor), self._clock()
        empty = max(self._empty.get(key, now), now) + self._each
        # Adding up fractions of a second is not exact; a bucket is not full for the error that makes.
        over = empty - now - self._room
        if over > self._each / 1000:
            return min(max(math.ceil(over), 1), LONGEST_WAIT)
        self._empty[key] = empty
        return None
