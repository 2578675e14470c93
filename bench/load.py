"""Closed-loop load: so many workers, each sending its next request when the last is answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from statistics import median

from msgspec import Struct

Operation = Callable[[int], Awaitable[object]]


class Measured(Struct, frozen=True, kw_only=True):
    """One run: operations per second, and latency in milliseconds."""

    per_second: float
    p50: float
    p99: float
    count: int


async def closed_loop(operation: Operation, *, workers: int, seconds: float) -> Measured:
    """Run ``operation`` with a running number until the time is up; a tenth of it first, not counted.

    Each worker does one at least, however late it begins.
    """
    await _run(operation, workers, seconds / 10)
    started = time.perf_counter()
    latencies = await _run(operation, workers, seconds)
    elapsed = time.perf_counter() - started
    latencies.sort()
    return Measured(
        per_second=len(latencies) / elapsed,
        p50=latencies[len(latencies) // 2] * 1000,
        p99=latencies[len(latencies) * 99 // 100] * 1000,
        count=len(latencies),
    )


async def _run(operation: Operation, workers: int, seconds: float) -> list[float]:
    latencies: list[float] = []
    until = time.perf_counter() + seconds
    number = 0

    async def worker() -> None:
        nonlocal number
        ended = 0.0
        while ended < until:
            number += 1
            started = time.perf_counter()
            await operation(number)
            ended = time.perf_counter()
            latencies.append(ended - started)

    await asyncio.gather(*(worker() for _ in range(workers)))
    return latencies


def middle(runs: list[Measured]) -> Measured:
    """The run in the middle by throughput, with the median of each figure."""
    return Measured(
        per_second=median(run.per_second for run in runs),
        p50=median(run.p50 for run in runs),
        p99=median(run.p99 for run in runs),
        count=sum(run.count for run in runs),
    )
