"""Runs chosen roles of Clew in this process until it is signalled to stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Final

from clew_events.errors import Unavailable
from clew_projections.wait import run_until_first
from clew_services import compose
from clew_services.api_keys import Keys
from clew_services.compose.roles import (
    PROJECTING,
    ROLES,
    Role,
    Service,
    compose_sampler,
    compose_services,
    metrics_source,
)
from clew_services.host import resources
from clew_services.http.health import CLOSED
from clew_services.metrics.counter_files import name_process_files
from clew_services.metrics.instruments import Instruments
from clew_services.process import readiness
from clew_services.settings import Settings
from clew_services.tracing import set_up_tracing

__all__ = ["ROLES", "Role", "collect_less", "serve"]

COLLECT_AFTER: Final = (50_000, 20, 100)
"""Thresholds of the garbage collector's three generations; see :func:`gc.set_threshold`."""

_LOG: Final = logging.getLogger("clew.serve")


async def serve(roles: Sequence[Role], settings: Settings) -> None:
    """Run ``roles`` until SIGTERM or SIGINT, finish work in progress, and return; a second signal ends the process.

    When all are ready, the parent process is told; see :mod:`clew_services.process.readiness`.

    Raises:
        ClewError: the deployment cannot be used, or a role failed.
    """
    keys = Keys.parse(settings.api_keys)
    resources.raise_limit()
    stop, facts = _stop_on_signals(), dict[str, str]()
    name, limits = f"clew {' '.join(roles)}", settings.limits
    if PROJECTING.issuperset(roles):
        # Answers have priority over projections: a late projection makes no answer wrong.
        resources.step_back()
    files = name_process_files()
    instruments = Instruments()
    tracing, send_off = set_up_tracing(os.environ, name)
    async with (
        _until_told(stop) as begun,
        _after(send_off),
        compose.connect(
            settings.nats_url,
            name=name,
            security=settings.nats_security,
            limits=limits,
            may_erase=settings.encrypted_at_rest != "",
            observer=instruments,
            tracing=tracing,
        ) as clew,
        clew.follow_tenants(),
        metrics_source(clew, instruments, settings, files, api="api" in roles) as metrics,
    ):
        await clew.tenant_list.admit({holder.tenant for holder in keys.configured()})
        services = compose_services(roles, clew, keys, settings, facts, metrics=metrics)
        begun()
        try:
            watch = partial(_watch_connection, clew.nc.ended)
            await _together([compose_sampler(clew, instruments, files).run, watch, *services], stop, facts)
        except ExceptionGroup as group:
            raise _first(group) from group


@contextlib.asynccontextmanager
async def _until_told(stop: asyncio.Event) -> AsyncIterator[Callable[[], object]]:
    """End the block, without an error, when ``stop`` is set; the yielded function disarms this."""
    task = asyncio.current_task()
    assert task is not None

    async def cancel_at_stop() -> None:
        await stop.wait()
        task.cancel()

    watch = asyncio.create_task(cancel_at_stop())
    try:
        yield watch.cancel
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
        task.uncancel()
    finally:
        watch.cancel()


@contextlib.asynccontextmanager
async def _after(last: Callable[[], None]) -> AsyncIterator[None]:
    """A block that ends with a slow function, run in a thread."""
    try:
        yield
    finally:
        await asyncio.to_thread(last)


async def _together(services: Sequence[Service], stop: asyncio.Event, facts: dict[str, str]) -> None:
    async with asyncio.TaskGroup() as running:
        all_ready = [asyncio.Event() for _ in services]
        for service, ready in zip(services, all_ready, strict=True):
            running.create_task(_ready_or_ended(service, stop, ready))
        for ready in all_ready:
            await ready.wait()
        if stop.is_set():
            return
        collect_less()
        readiness.announce_ready(facts)
        _LOG.info("ready%s", "".join(f" {name} {value}" for name, value in facts.items()))


async def _watch_connection(connection_ended: asyncio.Event, stop: asyncio.Event, ready: asyncio.Event) -> None:
    """Return when ``stop`` is set.

    Raises:
        Unavailable: the connection to NATS was closed for good, so that this process can do nothing more.
    """
    ready.set()
    await run_until_first(connection_ended.wait(), stop.wait())
    if connection_ended.is_set():
        raise Unavailable(CLOSED, code="nats_closed")


async def _ready_or_ended(service: Service, stop: asyncio.Event, ready: asyncio.Event) -> None:
    await service(stop, ready)
    ready.set()  # a service that was stopped before it began is ready, too


def collect_less() -> None:
    """Freeze the objects that exist, and collect garbage less often.

    There are hardly any cycles, but the cached threads are many objects to scan: collections took a tenth of the CPU
    time of a command, and paused the process for tens of milliseconds.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()

    def on_signal(number: int) -> None:
        if stop.is_set():
            _LOG.warning("stopping at once")
            os._exit(128 + number)
        _LOG.info("stopping after work in progress")
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, on_signal, number)
    return stop


def _first(group: ExceptionGroup[Exception]) -> Exception:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, ExceptionGroup) else first
