"""The same requests to a deployment of few threads and to one of many, in turn, so that drift hits both alike."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from random import Random
from typing import Final

import msgspec
import nats
from msgspec import Struct
from nats.aio.client import Client

from bench.lane import ROUNDS
from bench.load import Measured, closed_loop, middle
from bench.scaling.deployments import PATIENCE, TENANT, WITH, addresses
from bench.service import Service, at_rest, memory, service
from clew_events.subjects import Address, command_subject, query_subject
from clew_projections.nats import newest_reads
from clew_projections.state import from_views
from clew_services import compose
from clew_services.compose import Clew

BODY: Final = b'{"metadata":{"user":"ada","topic":"weather"},"messages":[{"role":"user","content":"How warm is it?"}]}'
SEARCHED: Final = "refund"
_GET: Final = query_subject(TENANT, "get_thread")
_LIST: Final = query_subject(TENANT, "list_threads")

LISTS: Final[dict[str, dict[str, object]]] = {
    "list of 20": {},
    "list of 20 with a value (4 %)": {"where": {"metadata": {"key": "customer", "eq": "42"}}},
    "search for a word": {"search": SEARCHED},
    "search for two words": {"search": f"{SEARCHED} bank"},
}
"""Questions, as ``list_threads`` takes them."""


class Compared(Struct, frozen=True, kw_only=True):
    """One kind of request to a deployment of few threads and to one of many."""

    name: str
    few: Measured
    many: Measured
    goal: float

    @property
    def ratio(self) -> float:
        """How many times as long a request takes where there are many threads."""
        return self.many.p50 / self.few.p50


class Target(Struct, frozen=True):
    """A deployment that runs, and its threads."""

    running: Service
    nc: Client
    clew: Clew
    threads: Sequence[Address]


Kind = Callable[[Target, int], Awaitable[object]]


class Comparison(Struct, frozen=True, kw_only=True):
    """All kinds of requests, and the memory of every process after them in megabytes."""

    requests: list[Compared]
    few_mb: Mapping[str, float]
    many_mb: Mapping[str, float]


async def compared(few: tuple[Path, int], many: tuple[Path, int], seconds: float) -> Comparison:
    """All kinds of requests to two deployments that were made before, given as folder and number of threads."""
    from_views.SEEN = newest_reads.REMEMBERED = 0  # type: ignore[misc]  # of this process; the services remember
    async with AsyncExitStack() as stack:
        both = [await _target(stack, *each) for each in (few, many)]
        found = []
        for name, (kind, workers, goal) in _kinds().items():
            for target in both:  # what one kind leaves to the projections is not the next one's
                await at_rest(target.running.pid)
            runs: tuple[list[Measured], list[Measured]] = ([], [])
            for _ in range(ROUNDS):
                for target, measured in zip(both, runs, strict=True):
                    measured.append(await closed_loop(_bound(kind, target), workers=workers, seconds=seconds))
            found.append(Compared(name=name, few=middle(runs[0]), many=middle(runs[1]), goal=goal))
        few_mb, many_mb = (memory(target.running.pid) for target in both)
        return Comparison(requests=found, few_mb=few_mb, many_mb=many_mb)


def _kinds() -> dict[str, tuple[Kind, int, float]]:
    kinds: dict[str, tuple[Kind, int, float]] = {
        "create": (_create, 32, 1.2),
        "get, of a thousand that are remembered": (_get_some, 32, 1.2),
        "get, of any": (_get_any, 32, 1.2),
        "get, nothing remembered": (_get_anew, 32, 1.2),
    }
    for name, question in LISTS.items():
        kinds[name] = (_listing(question), 4, 2.0 if "search" in question else 1.2)
    return kinds


def _bound(kind: Kind, target: Target) -> Callable[[int], Awaitable[object]]:
    return lambda number: kind(target, number)


async def _create(target: Target, _: int) -> None:
    _ok((await target.nc.request(command_subject("bench", "create_thread"), BODY, timeout=30)).data)


async def _get_some(target: Target, number: int) -> None:
    thread = target.threads[number % min(1000, len(target.threads))].thread.encode()
    _ok((await target.nc.request(_GET, b'{"thread_id":"%s"}' % thread, timeout=30)).data)


async def _get_any(target: Target, number: int) -> None:
    """Of a million, hardly one that the query process has heard of."""
    thread = target.threads[Random(number).randrange(len(target.threads))].thread.encode()
    _ok((await target.nc.request(_GET, b'{"thread_id":"%s"}' % thread, timeout=30)).data)


async def _get_anew(target: Target, number: int) -> None:
    """Without a service, and without the memory that a process of few threads has of all of them."""
    address = target.threads[Random(number).randrange(len(target.threads))]
    if (await target.clew.current.read_current(address)).thread.n == 0:
        raise RuntimeError(f"{address} is not there")


def _listing(question: dict[str, object]) -> Kind:
    body = msgspec.json.encode(question)

    async def ask(target: Target, _: int) -> None:
        _ok((await target.nc.request(_LIST, body, timeout=30)).data)

    return ask


async def _target(stack: AsyncExitStack, folder: Path, threads: int) -> Target:
    running = await stack.enter_async_context(service("always", WITH, data=folder, patience=PATIENCE))
    nc = await nats.connect(running.nats)
    stack.push_async_callback(nc.close)
    clew = await stack.enter_async_context(compose.connect(running.nats, name="bench"))
    return Target(running, nc, clew, addresses(threads))


def _ok(reply: bytes) -> None:
    if not reply.startswith(b'{"ok"'):
        raise RuntimeError(reply)
