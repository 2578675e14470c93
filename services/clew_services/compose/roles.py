"""The roles of a process: which services each of them runs, and which parts these are given."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, Literal, assert_never, get_args

from clew_projections.indexer.indexer import SnapshotSchedule
from clew_projections.wait import run_until_first
from clew_services import inbox, nats_api
from clew_services.api_keys import Keys
from clew_services.checkpoints.maker import serve_checkpoints
from clew_services.compose import Clew
from clew_services.erasure.worker import serve_erasure
from clew_services.http.health import Liveness, Readiness
from clew_services.http.tls_certificate import Certificate
from clew_services.inbox.attempt import InboxParts
from clew_services.integrity.background_audit import serve_audit
from clew_services.metrics.deployment import DeploymentMetrics
from clew_services.metrics.endpoint import MetricsEndpoint
from clew_services.metrics.files import Files
from clew_services.metrics.instruments import Instruments, Sampler
from clew_services.progress import TIME
from clew_services.retention.retention_worker import serve_retention
from clew_services.settings import Settings
from clew_services.status.deployment_status import Status, status

if TYPE_CHECKING:
    from clew_services.http.app import ApiParts
    from clew_services.http.middleware import Show

Role = Literal["api", "commands", "query", "projector", "index", "erasure", "retention"]
ROLES: Final[tuple[Role, ...]] = get_args(Role)
PROJECTING: Final = frozenset[Role]({"projector", "index", "erasure", "retention"})
LISTING: Final = frozenset[Role]({"api", "query", "retention"})
"""Roles that query the index, and keep it current if no other process on the machine does."""

Service = Callable[[asyncio.Event, asyncio.Event], Coroutine[None, None, None]]
"""Runs until the first event is set, and sets the second as soon as it is ready."""
_LOG: Final = logging.getLogger("clew.serve")


def compose_services(
    roles: Sequence[Role], clew: Clew, keys: Keys, settings: Settings, facts: dict[str, str], *, metrics: Show | None
) -> list[Service]:
    """The services of some roles. What they find out while they start, as the API's address, goes into ``facts``."""
    services = [each for role in roles for each in _services(role, clew, keys, settings, facts, metrics=metrics)]
    if not LISTING.isdisjoint(roles):
        clew.open_index(settings.index_folder)
        if "index" not in roles:
            services.append(partial(_run_indexer, clew, settings, False))
    return services


def _services(
    role: Role, clew: Clew, keys: Keys, settings: Settings, facts: dict[str, str], *, metrics: Show | None
) -> list[Service]:
    js, shards = clew.js, clew.opened.shards
    match role:
        case "api":
            serving = partial(_serve_until_cancelled, clew, keys, settings, metrics)
            return [partial(_serve_api, serving, facts)]
        case "commands":
            return [partial(serve_commands, clew), partial(serve_inbox, clew)]
        case "query":
            return [partial(serve_queries, clew)]
        case "projector":
            return [
                partial(_project, clew, settings.prove_rate),
                partial(serve_checkpoints, js, shards, settings),
                partial(serve_audit, js, shards, settings),
            ]
        case "index":
            return [partial(_run_indexer, clew, settings, True)]
        case "erasure":
            return [partial(serve_erasure, clew.erasure_parts, settings)]
        case "retention":
            return [partial(serve_retention, clew.retention_parts)]
        case _:
            assert_never(role)


async def serve_commands(clew: Clew, stop: asyncio.Event, ready: asyncio.Event | None = None) -> None:
    """Answer commands over NATS; see :func:`clew_services.nats_api.serve_commands`."""
    await nats_api.serve_commands(
        clew.nc,
        clew.handler,
        stop,
        ready,
        tenants=clew.tenants,
        tracing=clew.tracing,
        observer=clew.observer,
    )


async def serve_queries(clew: Clew, stop: asyncio.Event, ready: asyncio.Event | None = None) -> None:
    """Answer queries over NATS; see :func:`clew_services.nats_api.serve_queries`."""
    await nats_api.serve_queries(
        clew.nc,
        clew.reader,
        stop,
        ready,
        tenants=clew.tenants,
        tracing=clew.tracing,
        observer=clew.observer,
    )


async def serve_inbox(clew: Clew, stop: asyncio.Event, ready: asyncio.Event | None = None) -> None:
    """Carry out the commands of the inbox; see :func:`clew_services.inbox.serve_inbox`."""
    await inbox.serve_inbox(clew.nc, InboxParts(clew.js, clew.handler, clew.observer, clew.tenants), stop, ready)


def compose_readiness(clew: Clew, stuck_after: float, seconds: float = TIME) -> Readiness:
    """What tells whether the deployment can do its work; see :class:`clew_services.http.health.Readiness`."""
    return Readiness(
        clew.js, clew.opened.shards, clew.generations, lambda: clew.log.full, stuck_after=stuck_after, seconds=seconds
    )


def compose_api(clew: Clew, stuck_after: float) -> ApiParts:
    """What the HTTP API works with."""
    from clew_services.http.app import ApiParts  # noqa: PLC0415 - only the role api loads the libraries for HTTP

    return ApiParts(
        js=clew.js,
        handler=clew.handler,
        reader=clew.reader,
        feed=clew.feed,
        tail=clew.tail,
        checkpoints=clew.checkpoints,
        erasures=clew.erasures,
        exporter=clew.exporter,
        status=partial(_status, clew),
        liveness=Liveness(clew.nc.ended),
        readiness=compose_readiness(clew, stuck_after),
        observer=clew.observer,
        tracing=clew.tracing,
    )


async def _status(clew: Clew) -> Status:
    folder = clew.index.folder if clew.index is not None else None
    return await status(clew.opened, clew.generations, folder=folder)


def compose_sampler(clew: Clew, instruments: Instruments, files: Files | None) -> Sampler:
    """What takes the plain counters of this process over into its metrics."""
    return Sampler(instruments, clew.memory, clew.histories, clew.connection, files)


@contextlib.asynccontextmanager
async def metrics_source(
    clew: Clew, instruments: Instruments, settings: Settings, files: Files | None, *, api: bool
) -> AsyncIterator[Show | None]:
    """Serve metrics on their own address, or yield the API's endpoint; the role ``api`` includes the deployment's."""
    if settings.metrics == "off":
        yield None
        return
    readiness, folder = compose_readiness(clew, settings.stuck_after), clew.index_in(settings.index_folder)
    deployment = DeploymentMetrics(clew.opened, clew.live, readiness, folder, settings.storage_limit)
    showing = MetricsEndpoint(instruments, [deployment] if api else [], files)
    if settings.metrics_address is None:
        yield showing.show
        return
    cert, key = settings.http_cert, settings.http_key
    certificate = Certificate(cert, key, "the metrics' address") if cert else None
    async with showing.listen(settings.metrics_address, certificate):
        yield None


async def _serve_api(
    serve_until_cancelled: Callable[[Callable[[str], None]], Coroutine[None, None, None]],
    facts: dict[str, str],
    stop: asyncio.Event,
    ready: asyncio.Event,
) -> None:
    def listening(url: str) -> None:
        facts["http"] = url.partition("://")[2]
        ready.set()

    await run_until_first(serve_until_cancelled(listening), stop.wait())


async def _serve_until_cancelled(
    clew: Clew, keys: Keys, settings: Settings, metrics: Show | None, listening: Callable[[str], None]
) -> None:
    from clew_services.http.http_server import serve_http  # noqa: PLC0415 - as above

    host, port = settings.http_address
    async with clew.follow_keys(keys):
        if not len(keys):
            _LOG.warning("there is no API key yet, so every request is refused: create one with 'clew keys create'")
        api = compose_api(clew, settings.stuck_after)
        await serve_http(api, keys, host, port, settings=settings, ready=listening, metrics=metrics)


async def _project(clew: Clew, prove_rate: int, stop: asyncio.Event, ready: asyncio.Event) -> None:
    ready.set()
    async with asyncio.TaskGroup() as both:
        both.create_task(clew.project(stop))
        both.create_task(clew.watch(prove_rate).run(stop))


async def _run_indexer(
    clew: Clew, settings: Settings, dedicated: bool, stop: asyncio.Event, ready: asyncio.Event
) -> None:
    ready.set()
    due = SnapshotSchedule(settings.index_snapshot_seconds or math.inf)
    indexer = clew.indexer(settings.index_folder, dedicated=dedicated, due=due)
    async with asyncio.TaskGroup() as both:
        both.create_task(indexer.run(stop))
        both.create_task(clew.index_watch(settings.index_folder, settings.prove_rate, indexer).run(stop))
