"""A lane: one measurement beside the raw limit of the same server, turn by turn, so that drift hits both alike."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from msgspec import Struct

from bench.load import Measured, middle

ROUNDS: Final = 3
SHARDS: Final = 4

Run = Callable[[], Awaitable[Measured]]


class Lane(Struct, frozen=True, kw_only=True):
    """A measurement, what it is compared with, and the goal for the ratio, where there is one."""

    name: str
    clew: Measured
    raw_name: str = ""
    raw: Measured | None = None
    goal: float | None = None

    @property
    def ratio(self) -> float | None:
        """Clew's throughput over the raw one."""
        return self.clew.per_second / self.raw.per_second if self.raw is not None else None


class Cost(Struct, frozen=True):
    """A figure beside what it was before it was worked on, and what it should be."""

    name: str
    before: str
    goal: str
    now: float


async def in_turn(ours: Run, raw: Run) -> tuple[Measured, Measured]:
    """Both, in turn, some rounds; the middle of each."""
    both = [(await ours(), await raw()) for _ in range(ROUNDS)]
    return middle([each[0] for each in both]), middle([each[1] for each in both])
