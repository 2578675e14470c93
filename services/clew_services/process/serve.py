"""The parts of Clew that answer, any choice of them together in this process, until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import math
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from functools import partial
from typing import Final, Literal, assert_never, get_args

from clew_events.errors import Unavailable
from clew_projections.indexer.indexer import SnapshotSchedule
from clew_services import compose
from clew_services.api_keys import Keys
from clew_services.checkpoints.checkpoint_service import serve_checkpoints
from clew_services.host import descriptors
from clew_services.http.health import CLOSED, Readiness
from clew_services.http.http_server import serve_http
from clew_services.http.middleware import Show
from clew_services.inbox import serve_inbox
from clew_services.integrity.integrity_service import serve_audit
from clew_services.metrics.counter_files import name_process_files
from clew_services.metrics.deployment import DeploymentMetrics
from clew_services.metrics.endpoint import MetricsEndpoint
from clew_services.metrics.files import Files
from clew_services.metrics.instruments import Instruments
from clew_services.metrics.sampler import Sampler
from clew_services.nats_api import serve_commands, serve_queries
from clew_services.process import readiness
from clew_services.process.niceness import step_back
from clew_services.process.signals import until_told
from clew_services.settings import Settings
from clew_services.tracing import set_up_tracing

Role = Literal["api", "commands", "query", "projector", "index"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)

COLLECT_AFTER: Final = (50_000, 20, 100)
"""Allocations between looks for cycles among the youngest objects, and how many of these to one among older ones."""
PROJECTING: Final = frozenset[Role]({"projector", "index"})
LISTING: Final = frozenset[Role]({"api", "query"})
"""Roles that ask the index, and feed it where nobody else on the machine does."""

_Service = Callable[[asyncio.Event, asyncio.Event], Coroutine[None, None, None]]
_LOG: Final = logging.getLogger("clew.serve")


async def serve(roles: Sequence[Role], settings: Settings) -> None:
    """Run ``roles`` until SIGTERM or SIGINT, finish what was begun, and return; a second signal ends the process.

    When all are ready, whoever started the process is told; see :mod:`clew_services.process.readiness`.

    Raises:
        ClewError: the deployment cannot be used, or a role cannot go on.
    """
    keys = Keys.parse(settings.api_keys)
    descriptors.raise_limit()
    stop, facts = _stop_on_signals(), dict[str, str]()
    name, limits = f"clew {' '.join(roles)}", settings.limits
    if PROJECTING.issuperset(roles):
        # Where there are too few cores for all, answering comes first: a late projection makes no answer wrong.
        step_back()
    files = name_process_files()
    instruments = Instruments()
    tracing, send_off = set_up_tracing(os.environ, name)
    async with (
        until_told(stop) as begun,
        _after(send_off),
        compose.connect(settings.nats_url, name=name, limits=limits, observer=instruments, tracing=tracing) as clew,
        _metrics_source(clew, instruments, settings, files, api="api" in roles) as metrics,
    ):
        services = [each for role in roles for each in _services(role, clew, keys, settings, facts, metrics=metrics)]
        if not LISTING.isdisjoint(roles):
            clew.open_index(settings.index_folder)
            if "index" not in roles:
                services.append(partial(_feed_index, clew, settings, False))
        begun()
        try:
            watch = partial(_watch_connections, clew)
            await _together([Sampler(instruments, clew, files).run, watch, *services], stop, facts)
        except ExceptionGroup as group:
            raise _first(group) from group


@contextlib.asynccontextmanager
async def _after(last: Callable[[], None]) -> AsyncIterator[None]:
    """A block with something to do at its end that takes its time."""
    try:
        yield
    finally:
        await asyncio.to_thread(last)


@contextlib.asynccontextmanager
async def _metrics_source(
    clew: compose.Clew, instruments: Instruments, settings: Settings, files: Files | None, *, api: bool
) -> AsyncIterator[Show | None]:
    """Metrics on an address of their own, or what is to show them on the API's; the API's are the deployment's too."""
    if settings.metrics == "off":
        yield None
        return
    readiness, index = Readiness(clew, settings.stuck_after), clew.index_in(settings.index_folder)
    showing = MetricsEndpoint(
        instruments, [DeploymentMetrics(clew, readiness, index, settings.storage_limit)] if api else [], files
    )
    if settings.metrics_address is None:
        yield showing.show
        return
    async with showing.listen(settings.metrics_address):
        yield None


async def _together(services: Sequence[_Service], stop: asyncio.Event, facts: dict[str, str]) -> None:
    async with asyncio.TaskGroup() as running:
        all_ready = [asyncio.Event() for _ in services]
        for service, ready in zip(services, all_ready, strict=True):
            running.create_task(_ready_or_ended(service, stop, ready))
        for ready in all_ready:
            await ready.wait()
        if stop.is_set():
            return
        _collect_less()
        readiness.announce_ready(facts)
        _LOG.info("ready%s", "".join(f" {name} {value}" for name, value in facts.items()))


async def _watch_connections(clew: compose.Clew, stop: asyncio.Event, ready: asyncio.Event) -> None:
    """Return when ``stop`` is set.

    Raises:
        Unavailable: a connection to NATS was closed for good, so that this process can do nothing more.
    """
    ready.set()
    ended, stopped = asyncio.create_task(clew.nc.ended.wait()), asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        ended.cancel()
        stopped.cancel()
    if clew.nc.ended.is_set():
        raise Unavailable(CLOSED, code="nats_closed")


async def _ready_or_ended(service: _Service, stop: asyncio.Event, ready: asyncio.Event) -> None:
    await service(stop, ready)
    ready.set()  # who was told to stop before it began is not waited for


def _collect_less() -> None:
    """Leave what is there by now to itself, and look for cycles less often.

    There are hardly any, while the threads remembered are many objects to look through: a tenth of all processor time
    of a command, and pauses of tens of milliseconds, went into finding nothing.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


def _services(
    role: Role, clew: compose.Clew, keys: Keys, settings: Settings, facts: dict[str, str], *, metrics: Show | None
) -> list[_Service]:
    match role:
        case "api":
            return [partial(_api, partial(_serve_api, clew, keys, settings, metrics), facts)]
        case "commands":
            return [partial(serve_commands, clew), partial(serve_inbox, clew)]
        case "query":
            return [partial(serve_queries, clew)]
        case "projector":
            return [
                partial(_project, clew, settings.prove_rate),
                partial(serve_checkpoints, clew, settings),
                partial(serve_audit, clew, settings),
            ]
        case "index":
            return [partial(_feed_index, clew, settings, True)]
        case _:
            assert_never(role)


async def _serve_api(
    clew: compose.Clew, keys: Keys, settings: Settings, metrics: Show | None, ready: Callable[[str], None]
) -> None:
    host, port = settings.http_address
    async with clew.following(keys):
        if not len(keys):
            _LOG.warning("nobody has an API key yet, so nobody is let in: make one with 'clew keys create'")
        await serve_http(clew, keys, host, port, settings=settings, ready=ready, metrics=metrics)


async def _api(
    serve_until_cancelled: Callable[[Callable[[str], None]], Coroutine[None, None, None]],
    facts: dict[str, str],
    stop: asyncio.Event,
    ready: asyncio.Event,
) -> None:
    def listening(url: str) -> None:
        facts["http"] = url.removeprefix("http://")
        ready.set()

    serving = asyncio.create_task(serve_until_cancelled(listening))
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        serving.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await serving


async def _project(clew: compose.Clew, prove_rate: int, stop: asyncio.Event, ready: asyncio.Event) -> None:
    ready.set()
    async with asyncio.TaskGroup() as both:
        both.create_task(clew.project(stop))
        both.create_task(clew.watch(prove_rate).run(stop))


async def _feed_index(
    clew: compose.Clew, settings: Settings, dedicated: bool, stop: asyncio.Event, ready: asyncio.Event
) -> None:
    ready.set()
    due = SnapshotSchedule(settings.index_snapshot_seconds or math.inf)
    feeder = clew.index_feeder(settings.index_folder, dedicated=dedicated, due=due)
    async with asyncio.TaskGroup() as both:
        both.create_task(feeder.run(stop))
        both.create_task(clew.index_watch(settings.index_folder, settings.prove_rate, feeder).run(stop))


def _stop_on_signals() -> asyncio.Event:
    stop = asyncio.Event()

    def told(number: int) -> None:
        if stop.is_set():
            _LOG.warning("stopping at once")
            os._exit(128 + number)
        _LOG.info("stopping, after what was begun is finished")
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told, number)
    return stop


def _first(group: ExceptionGroup[Exception]) -> Exception:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, ExceptionGroup) else first
