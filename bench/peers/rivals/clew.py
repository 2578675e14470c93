"""Clew: as ``clew up`` runs it, and as a library on a log of its own; each with and without an fsync per answer."""

from __future__ import annotations

import asyncio
import contextlib
import re
import sys
import time
from functools import partial

import nats
from msgspec import Struct
from nats.aio.client import Client

from bench.http_load import request_bytes
from bench.peers.contender import (
    ROOT,
    About,
    Contender,
    Enter,
    Http,
    OverHttp,
    Place,
    driver,
)
from bench.peers.http_load import PATIENCE, Request
from bench.peers.measuring import Run
from bench.service import KEY, service
from bench.serving import BODY
from clew_events.subjects import command_subject
from clew_services.embedded import binary

THREAD = b'{"metadata":{"user":"ada","topic":"weather"}}'
"""What everybody is asked for over HTTP; who appends takes a message with it."""
SYNC = {"always": "fsync before the answer", "2m": "fsync every two minutes"}
SOURCE = "CLEW_SYNC={sync}, which sets sync_interval of NATS"


def entries() -> dict[str, Enter]:
    """Clew's contenders by name."""
    kinds = {"always": "", "2m": ", relaxed"}
    return {
        **{f"Clew{kind}": partial(_service, f"Clew{kind}", sync) for sync, kind in kinds.items()},
        **{
            f"Clew as a library{kind}": partial(_library, f"Clew as a library{kind}", sync)
            for sync, kind in kinds.items()
        },
    }


def _about(name: str, sync: str, set_up: str) -> About:
    stored = f"{SYNC[sync]} ({SOURCE.format(sync=sync)})"
    version = f"nats-server {binary.version(binary.find())}"
    return About(name=name, version=version, durable=sync == "always", stored=stored, set_up=set_up)


async def _service(name: str, sync: str, place: Place, stack: contextlib.AsyncExitStack) -> Contender:
    running = await stack.enter_async_context(service(sync, {"TMPDIR": str(place.data)}))
    nc = await nats.connect(running.nats)
    stack.push_async_callback(nc.close)
    operations = Both(OverHttp(_api(running.host, running.port)), OverNats(nc))
    return Contender(_about(name, sync, "as `clew up` starts it"), operations, (running.pid,))


def _api(host: str, port: int) -> Http:
    return Http(
        host=host,
        port=port,
        create=Request(request_bytes("POST", "/v1/threads", KEY, THREAD), b'"weather"'),
        get=lambda thread: request_bytes("GET", f"/v1/threads/{thread}", KEY),
        update=_update,
        newest=Request(request_bytes("GET", "/v1/threads?limit=20", KEY), b'"thread"', 20),
        find_id=re.compile(rb'"id": ?"(thread_\w+)"'),
    )


def _update(thread: str, number: int) -> Request:
    body = b'{"metadata":{"step":"%d"}}' % number
    return Request(request_bytes("POST", f"/v1/threads/{thread}", KEY, body), b'"%d"' % number)


class OverNats:
    """Commands by request and reply, from one connection of this process."""

    lanes = frozenset({"append"})

    def __init__(self, nc: Client) -> None:
        self._nc = nc
        self._subject = command_subject("bench", "create_thread")

    async def run(self, workers: int, seconds: float) -> Run:
        """One closed loop of commands that make threads."""
        latencies: list[int] = []
        failures: list[str] = []
        started = time.perf_counter()
        until = started + seconds

        async def work() -> None:
            while (sent := time.perf_counter()) < until:
                try:
                    reply = await self._nc.request(self._subject, BODY, timeout=PATIENCE)
                except Exception as error:  # noqa: BLE001 - whatever it is, it disqualifies the figure
                    failures.append(f"{type(error).__name__}: {error}")
                    continue
                if reply.data.startswith(b'{"ok"'):
                    latencies.append(round((time.perf_counter() - sent) * 1e6))
                else:
                    failures.append(reply.data.decode())

        await asyncio.gather(*(work() for _ in range(workers)))
        elapsed = time.perf_counter() - started
        failure = failures[0] if failures else ""
        return Run(count=len(latencies), elapsed=elapsed, latencies=latencies, failed=len(failures), failure=failure)


class Both(Struct, frozen=True):
    """The service over HTTP, and over NATS for appends."""

    http: OverHttp
    nats: OverNats

    @property
    def lanes(self) -> frozenset[str]:
        """All but replay."""
        return self.http.lanes | self.nats.lanes

    async def fill(self, count: int) -> Run:
        """Over HTTP."""
        return await self.http.fill(count)

    async def run(self, lane: str, workers: int, seconds: float) -> Run:
        """One closed loop."""
        return await (self.nats.run(workers, seconds) if lane == "append" else self.http.run(lane, workers, seconds))


async def _library(name: str, sync: str, place: Place, stack: contextlib.AsyncExitStack) -> Contender:
    folder = place.folder(name.replace(" ", "-"))
    command = (sys.executable, "-m", "bench.peers.drivers.with_clew", folder / "data", sync)
    paths = ":".join(str(each) for each in (ROOT, *(ROOT / name for name in ("events", "projections", "services"))))
    driven = await stack.enter_async_context(driver(command, {"PYTHONPATH": paths}, log=folder / "driver.log"))
    set_up = "one Python process with the log's server beside it, nothing projected; client and service are one"
    return Contender(_about(name, sync, set_up), driven, (driven.pid,))
