"""What requests and a start cost: a figure of now beside what it was and what it should be."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from bench.lane import Cost
from bench.scaling.deployments import made
from bench.scaling.starting import start
from bench.spending import spending

THREADS: Final = 1_000
"""How many threads a deployment has that is started."""
_REQUESTS: Final = {
    "create over HTTP": ("806", "450"),
    "create over NATS": ("608", "350"),
    "get over HTTP": ("154", "100"),
    "get over NATS": ("84", "65"),
}
_MESSAGES: Final = {
    "add over HTTP, 10 messages": ("910 to 1,120", "610"),
    "page of 20 over HTTP, 300 messages": ("1,350", "810"),
}
"""Requests about threads and about messages: microseconds of processor time before, and the goal."""


async def costs(seconds: float) -> list[Cost]:
    """Processor time of requests in all processes but the load generator, and what a start takes."""
    found = {each.name: each.all for each in (*await spending(seconds), *await spending(seconds, "messages"))}
    requests = [
        Cost(f"{name}: µs of processor time", before, goal, found[name])
        for name, (before, goal) in (_REQUESTS | _MESSAGES).items()
    ]
    return [*requests, *await _start()]


async def _start() -> list[Cost]:
    with TemporaryDirectory(prefix="clew-bench-") as folder:
        await made(Path(folder), THREADS)
        began = await start(Path(folder), "a stop")
    of = f"start with {THREADS:,} threads"
    return [
        Cost(f"{of}: seconds until ready", "2.0", "1.2", began.ready),
        Cost(f"{of}: seconds of processor time", "3.0", "1.8", began.cpu),
        Cost(f"{of}: MB of all processes", "330", "220", sum(began.memory_mb.values())),
    ]
