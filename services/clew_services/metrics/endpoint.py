"""The metrics endpoint: ``/metrics`` of the API, or an address of its own."""

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
from clew_services.http.tls_certificate import Certificate
from clew_services.metrics.counter_files import VARIABLE
from clew_services.metrics.files import Files
from clew_services.metrics.instruments import Instruments
from clew_services.settings import Address

_TYPE: Final = (b"content-type", CONTENT_TYPE_LATEST.encode())


class _Writer(Collector):
    """A collector without metrics: it runs before the files are read, and writes this process's values to them."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def collect(self) -> Iterable[Metric]:
        self._files.write()
        return ()


class MetricsEndpoint:
    """The metrics of this process, or of all processes that share its folder, and of ``more`` collectors."""

    def __init__(self, instruments: Instruments, more: Iterable[Collector] = (), files: Files | None = None) -> None:
        """``files`` are those in which this process keeps its values, if there are any."""
        self._registry = CollectorRegistry()
        if VARIABLE in os.environ:
            if files is not None:
                self._registry.register(_Writer(files))
            MultiProcessCollector(self._registry)  # type: ignore[no-untyped-call]
        else:
            self._registry.register(instruments.registry)
        for collector in more:
            self._registry.register(collector)
        self._running: asyncio.Task[Answer] | None = None

    async def show(self) -> Answer:
        """All metrics, in the Prometheus format. Concurrent calls share one collection."""
        if self._running is None or self._running.done():
            self._running = asyncio.get_running_loop().create_task(self._answer())
        return await asyncio.shield(self._running)

    async def _answer(self) -> Answer:
        # In a thread, because collectors wait for coroutines of the event loop.
        return Answer(200, await asyncio.to_thread(generate_latest, self._registry), (_TYPE,))

    @contextlib.asynccontextmanager
    async def listen(self, address: Address, certificate: Certificate | None = None) -> AsyncIterator[None]:
        """Serve the metrics on an address of their own, on every path, for the duration of the block.

        With a ``certificate`` it speaks HTTPS alone.

        Raises:
            CannotStart: the port is taken.
        """
        remedy = "Choose another with --metrics (CLEW_METRICS)."
        refuse_taken(*address, purpose="metrics", remedy=remedy)
        server, thread = start_http_server(address.port, address.host, self._registry)
        if certificate is not None:
            # Who connects and says nothing would else keep the handshake waiting, and all others behind it.
            server.socket = certificate.context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        renewal = asyncio.create_task(certificate.keep_renewed()) if certificate is not None else None
        try:
            yield
        finally:
            if renewal is not None:
                renewal.cancel()
            await asyncio.to_thread(server.shutdown)
            server.server_close()
            thread.join()
