"""The sampler: copies a process's plain counters into its metrics every second.

Counters on the hottest paths are plain numbers, because those are cheap; within a second they are in the metrics.
"""

from __future__ import annotations

import asyncio
import platform
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from prometheus_client import Counter

from clew_services.metrics.instruments import Instruments
from clew_services.version import clew_version

if TYPE_CHECKING:
    from clew_projections.history.histories import Histories
    from clew_services.metrics.files import Files
    from clew_services.nats_connection import Connection
    from clew_services.threads.cache import Memory

EVERY: Final = 1.0
"""Seconds between two samples."""


class Sampler:
    """Samples the counters of one process."""

    def __init__(
        self,
        instruments: Instruments,
        memory: Memory,
        histories: Histories,
        connection: Connection,
        files: Files | None = None,
    ) -> None:
        """``files``, if there are any, are written at every sample."""
        self._memory = memory
        self._nc = connection.nc
        self._files = files
        self._instruments = instruments
        self._followed = [
            _TailSample(lambda: memory.hits, instruments.memory.labels("hit")),
            _TailSample(lambda: memory.misses, instruments.memory.labels("miss")),
            _TailSample(lambda: histories.asked, instruments.tail_reads),
            _TailSample(lambda: connection.made - 1, instruments.disconnects),
        ]
        server = connection.nc.connected_server_version
        number = f"{server.major}.{server.minor}.{server.patch}"
        instruments.build.labels(clew_version(), platform.python_version(), number).set(1)
        instruments.processes.set(1)

    async def run(self, stop: asyncio.Event, ready: asyncio.Event) -> None:
        """Sample every second until ``stop`` is set, and once more at the end."""
        loop = asyncio.get_running_loop()
        self.look()
        ready.set()
        while not stop.is_set():
            due = loop.time() + EVERY
            try:
                async with asyncio.timeout_at(due):
                    await stop.wait()
            except TimeoutError:
                self._instruments.loop_lag.set(loop.time() - due)
            self.look()

    def look(self) -> None:
        """Copy what was counted since the last sample."""
        for sample in self._followed:
            sample.take()
        self._instruments.memory_threads.set(len(self._memory))
        self._instruments.connected.set(1 if self._nc.is_connected else 0)
        if self._files is not None:
            self._files.write()


class _TailSample:
    def __init__(self, read: Callable[[], int], counter: Counter) -> None:
        self._read = read
        self._counter = counter
        self._taken = 0

    def take(self) -> None:
        now = self._read()
        self._counter.inc(now - self._taken)
        self._taken = now
