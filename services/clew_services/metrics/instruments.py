"""The instruments of one process: an observer that updates metrics, and a sampler of plain counters."""

from __future__ import annotations

import asyncio
import platform
from bisect import bisect_left
from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, disable_created_metrics

from clew_services.metrics import catalogue
from clew_services.metrics.catalogue import Metric
from clew_services.observer import Answered, Handled, Observer, Projected
from clew_services.version import clew_version


class _Histogram(Histogram):
    """A histogram that finds the bucket of a value at once, and takes no exemplars."""

    def observe(self, amount: float, exemplar: Mapping[str, str] | None = None) -> None:  # noqa: ARG002 - as above
        self._sum.inc(amount)
        self._buckets[bisect_left(self._upper_bounds, amount)].inc(1)


M = TypeVar("M", Counter, Histogram)

METHODS: Final = frozenset({"GET", "HEAD", "POST", "PATCH", "PUT", "DELETE", "OPTIONS"})
"""HTTP methods that are labels; all others count as ``other``, because clients may invent any."""


class Instruments(Observer):
    """Counts and times what it observes. One for each process, with its own registry.

    If ``PROMETHEUS_MULTIPROC_DIR`` is set, the values are kept in files there, to be served with other processes'.
    """

    def __init__(self) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self._commands = _bind(self._histogram(catalogue.COMMAND_SECONDS))
        self._guard = _bind(self._counter(catalogue.GUARD_FAILURES))
        self._again = self._counter(catalogue.COMMAND_RETRIES)
        self._batches = _bind(self._histogram(catalogue.GROUP_COMMITS))
        self._requests = _bind(self._histogram(catalogue.NATS_REQUEST_SECONDS))
        self._settled = _bind(self._counter(catalogue.INBOX_SETTLED))
        self._http = self._histogram(catalogue.HTTP_REQUEST_SECONDS)
        self._projected = self._counter(catalogue.PROJECTED)
        self._projector_batch = self._histogram(catalogue.PROJECTOR_BATCH)
        self._delay = self._histogram(catalogue.PROJECTION_DELAY)
        self.tail_reads = self._counter(catalogue.TAIL_READS)
        self.memory = self._counter(catalogue.MEMORY_LOOKUPS)
        self.memory_threads = self._gauge(catalogue.MEMORY_THREADS)
        self.processes = self._gauge(catalogue.PROCESSES)
        self.connected = self._gauge(catalogue.NATS_CONNECTED)
        self.disconnects = self._counter(catalogue.NATS_DISCONNECTS)
        self.loop_lag = self._gauge(catalogue.LOOP_LAG)
        self.build = self._gauge(catalogue.BUILD)

    def on_handled(self, command: str, outcome: Handled, seconds: float) -> None:
        """Count and time it."""
        self._commands(command, outcome).observe(seconds)

    def guard_failed(self, why: Literal["stale", "duplicate"]) -> None:
        """Count it."""
        self._guard(why).inc()

    def on_retry(self) -> None:
        """Count it."""
        self._again.inc()

    def on_batch(self, commits: int, stored: bool) -> None:
        """Count it by size."""
        self._batches("stored" if stored else "refused").observe(commits)

    def on_reply(self, service: str, code: str, seconds: float) -> None:
        """Count and time it."""
        self._requests(service, code).observe(seconds)

    def on_settled(self, outcome: Literal["done", "refused"]) -> None:
        """Count it."""
        self._settled(outcome).inc()

    def route(self, path: str) -> Answered:
        """A function that counts and times the answers of one route."""

        @cache
        def child(method: str, status: int) -> Histogram:
            return self._http.labels(path, method, str(status))

        def answered(method: str, status: int, seconds: float) -> None:
            child(method if method in METHODS else "other", status).observe(seconds)

        return answered

    def shard(self, number: int) -> Projected:
        """A function that counts and times the batches of one shard."""
        label = str(number)
        commits, delay = self._projected.labels(label), self._delay.labels(label)
        batch = self._projector_batch.labels(label)

        def projected(count: int, seconds: float) -> None:
            commits.inc(count)
            batch.observe(count)
            delay.observe(seconds)

        return projected

    def _counter(self, metric: Metric) -> Counter:
        return Counter(metric.name, metric.help, metric.labels, registry=self.registry)

    def _gauge(self, metric: Metric) -> Gauge:
        return Gauge(metric.name, metric.help, metric.labels, registry=self.registry, multiprocess_mode=metric.over)

    def _histogram(self, metric: Metric) -> Histogram:
        return _Histogram(metric.name, metric.help, metric.labels, registry=self.registry, buckets=metric.buckets)


def _bind(metric: M) -> Callable[..., M]:
    """A function that returns a metric's child by its labels, with a cache."""
    return cache(metric.labels)


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
