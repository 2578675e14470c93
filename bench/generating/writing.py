"""A planned log written: commits in the order of their times, in atomic batches straight into the streams."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from heapq import heapify, heappop, heappush
from itertools import islice
from pathlib import Path
from random import Random
from typing import Final

import msgspec
from msgspec import Struct

from bench.generating.inventing import Thread
from bench.generating.planning import Plan, Planned, planned
from clew_events.subjects import Address, event_stream, event_subject, shard_of
from clew_projections.nats.jetstream import JetStream
from clew_projections.nats.stream_messages import EXPECTED, MSG_ID, OutgoingMessage
from clew_services import compose
from clew_services.embedded.server import EmbeddedServer
from clew_services.eventstore import provision

BATCH: Final = 500
FIRST_FEW: Final = 5
_SECOND: Final = timedelta(seconds=1)

Progress = Callable[[int], None]


class Generated(Struct, frozen=True, kw_only=True):
    """What was made. ``of_length`` has the first few threads of each length."""

    commits: int
    threads: int
    seconds: float
    of_length: dict[int, tuple[Address, ...]]


class _StreamState(Struct):
    last_seq: int


class _StreamInfo(Struct):
    state: _StreamState


async def generate(js: JetStream, shards: int, plan: Plan, progress: Progress | None = None) -> Generated:
    """Write a planned log into a deployment that has no thread of the same plan yet.

    Nobody else may write meanwhile. ``progress`` is told from time to time how many commits there are by now.

    Raises:
        RuntimeError: a batch was refused.
    """
    started = time.perf_counter()
    threads = planned(plan)
    writers = [Writer(js, shard, await _last(js, shard)) for shard in range(shards)]
    try:
        await _write(writers, _in_order(threads), plan, progress)
    finally:
        ended = await asyncio.gather(*(writer.settle() for writer in writers), return_exceptions=True)
    for each in ended:
        if isinstance(each, BaseException):
            raise each
    return Generated(
        commits=sum(len(each.times) for each in threads),
        threads=len(threads),
        seconds=time.perf_counter() - started,
        of_length=_of_length(threads),
    )


@asynccontextmanager
async def generated(data: Path, plan: Plan, *, shards: int = 4) -> AsyncIterator[tuple[EmbeddedServer, Generated]]:
    """A server on a fresh folder, with a planned log; it goes on until the end of the block."""
    async with EmbeddedServer(data, port=0, sync="2m") as server:
        async with compose.connection(server.url, name="generator") as made:
            await provision.init(made.js, shards=shards, max_msg_size=made.nc.max_payload)
            result = await generate(made.js, shards, plan)
        yield server, result


async def _write(
    writers: Sequence[Writer], commits: Iterator[tuple[Thread, float]], plan: Plan, progress: Progress | None
) -> None:
    chance = Random(f"{plan.seed} happenings")
    done = 0
    for thread, at in commits:
        name, body = thread.next(plan.begin + at * _SECOND, chance)
        writer = writers[shard_of(thread.address.thread, len(writers))]
        writer.add(thread, name, body)
        if len(writer.waiting) >= BATCH:
            done += len(writer.waiting)
            await writer.flush()
            if progress is not None:
                progress(done)
    for writer in writers:
        await writer.flush()


class Writer:
    """Writes to one shard. The server's guards hold that its count of sequences is right."""

    def __init__(self, js: JetStream, shard: int, last: int) -> None:
        self._js = js
        self._shard = shard
        self._seq = last
        self._subjects: set[str] = set()
        self._sending: asyncio.Task[None] | None = None
        self.waiting: list[OutgoingMessage] = []

    def add(self, thread: Thread, name: str, body: bytes) -> None:
        subject = event_subject(self._shard, thread.address)
        headers = {MSG_ID: f"{thread.address.tenant}:{thread.address.thread}:{name}"}
        # The first of a batch on its subject is guarded, as the server will have it; that holds for those after it.
        if subject not in self._subjects:
            headers[EXPECTED] = str(thread.seq)
            self._subjects.add(subject)
        self._seq += 1
        thread.seq = self._seq
        self.waiting.append(OutgoingMessage(subject, body, headers))

    async def flush(self) -> None:
        """Begin to send what waits, when what was sent before is there."""
        await self.settle()
        if self.waiting:
            self._sending = asyncio.create_task(self._send(self.waiting, self._seq))
            self.waiting, self._subjects = [], set()

    async def settle(self) -> None:
        """Wait until what was sent is there."""
        if self._sending is not None:
            await self._sending
            self._sending = None

    async def _send(self, batch: list[OutgoingMessage], last: int) -> None:
        acks = await self._js.publish_batch(batch, timeout=60)
        if not acks or acks[-1].seq != last:
            raise RuntimeError(
                f"{event_stream(self._shard)} refused a batch: somebody else writes there, or these threads are there"
            )


def _in_order(threads: list[Planned]) -> Iterator[tuple[Thread, float]]:
    due = [(thread.times[0], number) for number, thread in enumerate(threads)]
    heapify(due)
    making: dict[int, Thread] = {}
    while due:
        at, number = heappop(due)
        plan = threads[number]
        thread = making.get(number) or making.setdefault(number, Thread(plan.address, len(plan.times)))
        yield thread, at
        if thread.n < thread.length:
            heappush(due, (plan.times[thread.n], number))
        else:
            del making[number]


def _of_length(threads: list[Planned]) -> dict[int, tuple[Address, ...]]:
    found: dict[int, list[Address]] = {}
    for thread in threads:
        found.setdefault(len(thread.times), []).append(thread.address)
    return {length: tuple(islice(found[length], FIRST_FEW)) for length in sorted(found)}


async def _last(js: JetStream, shard: int) -> int:
    return msgspec.convert(await js.api(f"STREAM.INFO.{event_stream(shard)}"), _StreamInfo).state.last_seq
