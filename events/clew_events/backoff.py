"""Exponential backoff with jitter."""

from __future__ import annotations

import random
from collections.abc import Iterator


def delays(*, first: float = 0.02, longest: float = 2.0, factor: float = 2.0) -> Iterator[float]:
    """Endless delays in seconds between retries: random, below a ceiling that grows from ``first`` to ``longest``.

    The jitter keeps callers that failed at the same time from retrying at the same time. No delay is below half of the
    ceiling.
    """
    ceiling = first
    while True:
        yield random.uniform(ceiling / 2, ceiling)  # noqa: S311 - spreading load, not keeping secrets
        ceiling = min(longest, ceiling * factor)
