"""What a lane finds out about a contender: one run, and the figure that several of them come to."""

from __future__ import annotations

from statistics import median

import msgspec
from msgspec import Struct


class Run(Struct, frozen=True, kw_only=True):
    """One closed loop. ``latencies`` are in microseconds; ``unfinished`` were not answered when patience ended."""

    count: int
    elapsed: float
    latencies: list[int] = []
    failed: int = 0
    failure: str = ""
    unfinished: int = 0

    @property
    def per_second(self) -> float:
        """Operations that succeeded, by the second."""
        return self.count / self.elapsed if self.elapsed else 0.0


class Cost(Struct, frozen=True, kw_only=True):
    """What a run took of the machine: processor seconds of the contender until it rested again, of how many operations.

    ``memory`` is in megabytes, after the run: proportional shares, so that what processes have in common counts once.
    """

    cpu_seconds: float
    operations: int
    memory: float


class Figure(Struct, frozen=True, kw_only=True):
    """A contender in a lane: medians over the rounds, latencies in milliseconds.

    ``stored`` is how many threads there were after the last round. A figure with a failure does not count.
    """

    contender: str
    lane: str
    per_second: float
    p50: float
    p99: float
    cpu_ms: float
    memory_mb: float
    stored: int
    rounds: list[float]
    operations: int
    failed: int = 0
    failure: str = ""
    unfinished: int = 0

    @property
    def counts(self) -> bool:
        """Whether every answer was a success, and there was one."""
        return not self.failed and self.operations > 0


def figure(contender: str, lane: str, runs: list[Run], costs: list[Cost], stored: int) -> Figure:
    """The middle of some rounds, each figure by itself."""
    return Figure(
        contender=contender,
        lane=lane,
        per_second=median(run.per_second for run in runs),
        p50=median(_percentile(run, 50) for run in runs),
        p99=median(_percentile(run, 99) for run in runs),
        cpu_ms=median(1000 * cost.cpu_seconds / max(1, cost.operations) for cost in costs),
        memory_mb=max(cost.memory for cost in costs),
        stored=stored,
        rounds=[round(run.per_second, 1) for run in runs],
        operations=sum(run.count for run in runs),
        failed=sum(run.failed for run in runs),
        failure=next((run.failure for run in runs if run.failure), ""),
        unfinished=sum(run.unfinished for run in runs),
    )


def decoded(line: bytes) -> Run:
    """A driver's result."""
    return msgspec.json.decode(line, type=Run)


def _percentile(run: Run, percent: int) -> float:
    ordered = sorted(run.latencies)
    return ordered[len(ordered) * percent // 100] / 1000 if ordered else 0.0
