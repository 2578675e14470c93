"""Showing metrics: at ``/metrics`` of the API, or on an address of their own."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Iterable
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Metric, generate_latest, start_http_server
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from clew_services.host.ports import refuse_taken
from clew_services.http.responses import Answer
from clew_services.metrics.counter_files import VARIABLE
from clew_services.metrics.files import Files
from clew_services.metrics.instruments import Instruments
from clew_services.settings import Address

_TYPE: Final = (b"content-type", CONTENT_TYPE_LATEST.encode())


class _Writer(Collector):
    """Has no metrics of its own: it is asked before the files are read, and writes what this process has counted."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def collect(self) -> Iterable[Metric]:
        self._files.write()
        return ()


class MetricsEndpoint:
    """What this process counted, or all processes that share its folder, and what ``more`` collectors find out."""

    def __init__(self, instruments: Instruments, more: Iterable[Collector] = (), files: Files | None = None) -> None:
        """``files`` are those in which this process keeps what it counts, if it keeps it in any."""
        self._registry = CollectorRegistry()
        if VARIABLE in os.environ:
            if files is not None:
                self._registry.register(_Writer(files))
            MultiProcessCollector(self._registry)  # type: ignore[no-untyped-call]
        else:
            self._registry.register(instruments.registry)
        for each in more:
            self._registry.register(each)
        self._running: asyncio.Task[Answer] | None = None

    async def show(self) -> Answer:
        """All of it, as Prometheus reads it. However many ask at once, it is put together once."""
        if self._running is None or self._running.done():
            self._running = asyncio.get_running_loop().create_task(self._answer())
        return await asyncio.shield(self._running)

    async def _answer(self) -> Answer:
        # In a thread, which lets the event loop go on and answer the collectors that ask it.
        return Answer(200, await asyncio.to_thread(generate_latest, self._registry), (_TYPE,))

    @contextlib.asynccontextmanager
    async def listen(self, address: Address) -> AsyncIterator[None]:
        """Show it on an address of its own, whatever the path, for as long as the block lasts.

        Raises:
            CannotStart: the port is taken.
        """
        remedy = "Choose another with --metrics (CLEW_METRICS)."
        refuse_taken(*address, purpose="metrics", remedy=remedy)
        server, thread = start_http_server(address.port, address.host, self._registry)
        try:
            yield
        finally:
            await asyncio.to_thread(server.shutdown)
            server.server_close()
            thread.join()
