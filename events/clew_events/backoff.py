"""How long to wait before trying again."""

from __future__ import annotations

import random
from collections.abc import Iterator


def delays(*, first: float = 0.02, longest: float = 2.0, factor: float = 2.0) -> Iterator[float]:
    """Endless pauses in seconds, drawn at random below a ceiling that grows from ``first`` to ``longest``.

    The draw keeps callers that failed together from coming back together; none is below half of the ceiling,
    so that waiting does grow.
    """
    ceiling = first
    while True:
        yield random.uniform(ceiling / 2, ceiling)  # noqa: S311 - spreading load, not keeping secrets
        ceiling = min(longest, ceiling * factor)
