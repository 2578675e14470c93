"""Which process takes how much processor time of one request, until all that follows from it is done.

``python -m bench --spending --beside CLEW`` asks it of two installations in turn, so that one can be compared with the
commit before it on a machine whose speed changes from minute to minute.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Final, Literal

import nats
from msgspec import Struct
from nats.aio.client import Client

from bench.http_load import http_load, request_bytes
from bench.load import Measured, closed_loop
from bench.messages import made
from bench.service import KEY, Service, at_rest, by_process, service
from bench.serving import BODY, threads_of
from clew_events.subjects import command_subject, query_subject
from clew_services import compose

HERE: Final = "load generator"
THREADS_BY_LENGTH: Final = {10: 4_000, 300: 100, 10_000: 16}
"""How many threads there are of each length, in messages."""
Kind = Literal["threads", "messages"]
"""What requests are about."""
WARM_UP: Final = 1.1
"""A closed loop runs a tenth longer than it counts."""


class Spent(Struct, frozen=True, kw_only=True):
    """Of one kind of request: how many a second, and microseconds of processor time of each, by process."""

    name: str
    per_second: float
    micros: dict[str, float]

    @property
    def all(self) -> float:
        """Microseconds of all processes but the load generator."""
        return sum(micros for process, micros in self.micros.items() if process != HERE)


class Compared(Struct, frozen=True, kw_only=True):
    """One kind of request in two installations, over some rounds.

    ``ours`` and ``theirs`` are the lower quartiles, process by process: what else the machine does only ever adds to a
    figure. ``ratio`` is that of the sums of all processes; ``ratios`` are those of each round.
    """

    name: str
    ours: Spent
    theirs: Spent
    ratio: float
    ratios: list[float]


async def spending(seconds: float, kind: Kind = "threads") -> list[Spent]:
    """What requests of a kind spend on one deployment, one after another."""
    async with contextlib.AsyncExitStack() as stack:
        target = await _target(stack, None, seconds, kind)
        return [await _spent(name, target.running, run) for name, run in target.loads.items()]


async def compared(seconds: float, rounds: int, other: Path, kind: Kind = "threads") -> list[Compared]:
    """This installation and another, given as its program ``clew``, in turn: who goes first changes every round."""
    async with contextlib.AsyncExitStack() as stack:
        targets = [await _target(stack, program, seconds, kind) for program in (None, other)]
        found: dict[str, tuple[list[Spent], list[Spent]]] = {name: ([], []) for name in targets[0].loads}
        for number in range(rounds):
            for name, each in found.items():
                for side in (0, 1) if number % 2 else (1, 0):
                    spent = await _spent(name, targets[side].running, targets[side].loads[name], warm=number == 0)
                    each[side].append(spent)
        return [_compared(*each) for each in found.values()]


def _compared(ours: list[Spent], theirs: list[Spent]) -> Compared:
    ratios = [one.all / other.all for one, other in zip(ours, theirs, strict=True)]
    ratio = _quartile([each.all for each in ours]) / _quartile([each.all for each in theirs])
    return Compared(name=ours[0].name, ours=_usual(ours), theirs=_usual(theirs), ratio=ratio, ratios=sorted(ratios))


def _usual(rounds: list[Spent]) -> Spent:
    return Spent(
        name=rounds[0].name,
        per_second=median(each.per_second for each in rounds),
        micros={name: _quartile([each.micros.get(name, 0.0) for each in rounds]) for name in rounds[0].micros},
    )


def _quartile(values: list[float]) -> float:
    """The lower quartile."""
    return sorted(values)[len(values) // 4]


class _Target(Struct, frozen=True):
    running: Service
    loads: dict[str, Callable[[], Awaitable[Measured]]]


async def _target(stack: contextlib.AsyncExitStack, program: Path | None, seconds: float, kind: Kind) -> _Target:
    running = await stack.enter_async_context(service(program=program))
    nc = await nats.connect(running.nats)
    stack.push_async_callback(nc.close)
    if kind == "threads":
        return _Target(running, loads(running, nc, await threads_of(nc, 1000), seconds))
    async with compose.connect(running.nats, name="bench") as clew:
        threads = {
            length: [(await made(clew, length)).id for _ in range(count)] for length, count in THREADS_BY_LENGTH.items()
        }
    await at_rest(running.pid)
    return _Target(running, message_loads(running, nc, threads, seconds))


def message_loads(
    running: Service, nc: Client, threads: Mapping[int, list[str]], seconds: float
) -> dict[str, Callable[[], Awaitable[Measured]]]:
    """Messages added, and pages of 20 read, 16 in flight, in threads by their length; two of them over HTTP as well."""

    def load(
        name: str, subject: str, body: Callable[[str], bytes], some: list[str]
    ) -> Callable[[], Awaitable[Measured]]:
        async def ask(number: int) -> None:
            reply = await nc.request(subject, body(some[number % len(some)]), timeout=10)
            if not reply.data.startswith(b'{"ok"'):
                raise RuntimeError(f"{name}: {reply.data!r}")

        return lambda: closed_loop(ask, workers=16, seconds=seconds)

    def added(thread: str) -> bytes:
        return b'{"thread_id":"%s","message":{"role":"user","content":"How warm is it?"}}' % thread.encode()

    def paged(thread: str) -> bytes:
        return b'{"thread_id":"%s","limit":20}' % thread.encode()

    def over_http(method: str, some: list[str], query: str, body: bytes = b"") -> Callable[[], Awaitable[Measured]]:
        requests = [request_bytes(method, f"/v1/threads/{each}/messages{query}", KEY, body) for each in some]
        return lambda: http_load(
            running.host, running.port, lambda number: requests[number % len(requests)], workers=16, seconds=seconds
        )

    add, page = command_subject("bench", "add_message"), query_subject("bench", "list_messages")
    return {
        "page of 20 over HTTP, 300 messages": over_http("GET", threads[300], "?limit=20"),
        "add over HTTP, 10 messages": over_http(
            "POST", threads[10], "", b'{"role":"user","content":"How warm is it?"}'
        ),
        **{f"page of 20, {length:,} messages": load("page", page, paged, some) for length, some in threads.items()},
        **{f"add, {length:,} messages": load("add", add, added, some) for length, some in threads.items()},
    }


def loads(
    running: Service, nc: Client, threads: list[str], seconds: float
) -> dict[str, Callable[[], Awaitable[Measured]]]:
    """Creates and gets over HTTP, 32 connections, and over NATS, 64 in flight."""
    post = request_bytes("POST", "/v1/threads", KEY, BODY)
    gets = [request_bytes("GET", f"/v1/threads/{thread}", KEY) for thread in threads]
    queries = [b'{"thread_id":"%s"}' % thread.encode() for thread in threads]
    create, get = command_subject("bench", "create_thread"), query_subject("bench", "get_thread")

    def over_http(request: Callable[[int], bytes]) -> Callable[[], Awaitable[Measured]]:
        return lambda: http_load(running.host, running.port, request, workers=32, seconds=seconds)

    def over_nats(subject: str, body: Callable[[int], bytes]) -> Callable[[], Awaitable[Measured]]:
        async def ask(number: int) -> None:
            await nc.request(subject, body(number), timeout=10)

        return lambda: closed_loop(ask, workers=64, seconds=seconds)

    return {
        "create over HTTP": over_http(lambda _: post),
        "get over HTTP": over_http(lambda number: gets[number % len(gets)]),
        "create over NATS": over_nats(create, lambda _: BODY),
        "get over NATS": over_nats(get, lambda number: queries[number % len(queries)]),
    }


async def _spent(name: str, running: Service, run: Callable[[], Awaitable[Measured]], *, warm: bool = True) -> Spent:
    if warm:
        await run()
    await at_rest(running.pid)
    before = _computed(running.pid)
    measured = await run()
    here = time.process_time() - before[HERE]
    await at_rest(running.pid)
    after = _computed(running.pid) | {HERE: before[HERE] + here}
    each = measured.count * WARM_UP / 1e6
    micros = {process: (seconds - before.get(process, 0.0)) / each for process, seconds in after.items()}
    return Spent(name=name, per_second=measured.per_second, micros=micros)


def _computed(root: int) -> dict[str, float]:
    """Seconds of processor time so far, by process (Linux)."""
    found = {HERE: time.process_time()}
    for pid, name in by_process(root).items():
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
            found[name] = sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")
    return found
