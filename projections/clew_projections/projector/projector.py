"""The projector: folds the log into the buckets. Any number of projectors may run; there is no leader.

All projectors of a shard share one durable, unfiltered pull consumer. A batch is grouped by thread; each thread's view
is advanced over its commits and written once, guarded by the key's revision. Commits applied already are skipped by
number, a gap is filled from the log, a view is read again after a lost race, and a commit is acknowledged only when its
views are written. So deliveries may be repeated, reordered, split over processes or cut short anywhere, and the buckets
end up the same.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from clew_events.errors import Corrupt, Unavailable
from clew_events.subjects import Address, address_of, is_addressable
from clew_projections.kv.bucket import Bucket
from clew_projections.kv.position import PositionStore
from clew_projections.nats.stream_reads import now
from clew_projections.projector.batch import Apply, BatchProjection
from clew_projections.projector.parked_threads import park_thread, retry_parked
from clew_projections.projector.shard_consumer import Delivery, ShardConsumer
from clew_projections.wait import wait_for_event

_LOG: Final = logging.getLogger("clew.projector")

BATCH: Final = 500
PAUSE_EACH: Final = 0.01
"""Seconds from one batch to the next for each commit of the first, so that a lone commit delays nothing."""
PAUSE: Final = 0.05
"""The most seconds from one batch to the next, unless the first is full: so many commits come together meanwhile."""
CHECKPOINT_EVERY: Final = 1.0
"""Seconds between writes of the position while commits are projected."""


class Projector:
    """Projects one shard until it is stopped."""

    def __init__(
        self,
        deliveries: ShardConsumer,
        projecting: BatchProjection,
        threads: Bucket,
        checkpoint: PositionStore,
        connection: Callable[[], int],
        *,
        removed: Callable[[], Awaitable[bool]],
        projected: Callable[[int, float], None] = lambda _commits, _seconds: None,
        trace: Callable[[Apply], Apply] = lambda apply: apply,
    ) -> None:
        """``connection`` counts how often the connection to NATS was made; ``trace`` wraps each batch in spans.

        ``removed`` tells whether the buckets and their consumer are being removed, or are gone; it is asked when
        something of them does not answer. ``projected`` is called after each batch with the number of commits and the
        age of the oldest in seconds.
        """
        self._deliveries = deliveries
        self._projecting = projecting
        self._apply = trace(projecting.apply)
        self._threads = threads
        self._checkpoint = checkpoint
        self._connection = connection
        self._removed = removed
        self._projected = projected
        self.commits = 0
        """Commits projected since the start, repeated ones included."""

    async def run(self, stop: asyncio.Event) -> None:
        """Project until ``stop`` is set, the current batch being finished first, or until the buckets are removed."""
        try:
            await self._run(stop)
        finally:
            await self._deliveries.close()

    async def _run(self, stop: asyncio.Event) -> None:
        ready: int | None = None
        pause, trouble = 0.05, ""
        while not stop.is_set():
            try:
                if ready != (connection := self._connection()):
                    await self._begin()
                    ready = connection
                begun = now()
                if batch := await self._deliveries.next(BATCH):
                    begun = now()
                self._check_connection(ready)
                await self.project(batch)
                self._check_connection(ready)
                await self._checkpoint.advance(CHECKPOINT_EVERY)
                pause, trouble = 0.05, ""
                if len(batch) < BATCH:
                    await wait_for_event(stop, begun + min(PAUSE, PAUSE_EACH * (len(batch) or 1)) - now())
            except Unavailable as fault:
                ready = None
                await self._deliveries.give_back()
                if str(fault) != trouble:
                    if stop.is_set() or await self._removed():
                        return
                    trouble = str(fault)
                    _LOG.warning("the projector waits for JetStream: %s", fault)
                await wait_for_event(stop, pause)
                pause = min(pause * 2, 2.0)

    async def _begin(self) -> None:
        # The server may have restarted and lost views, which are not fsynced.
        self._projecting.forget()
        await self._deliveries.flush_acks()
        await self._checkpoint.rewind()
        if released := await retry_parked(self._threads, self._projecting):
            _LOG.warning("%d parked threads are projected again", released)

    async def project(self, batch: Sequence[Delivery]) -> None:
        """Apply a batch, write its views, and acknowledge the commits whose views are written.

        Raises:
            Unavailable: a bucket or the log does not answer, or the connection was lost meanwhile; unacknowledged
                commits are delivered again.
        """
        connection = self._connection()
        threads: dict[Address, list[Delivery]] = {}
        for delivery in batch:
            threads.setdefault(address_of(delivery.subject), []).append(delivery)
        if not threads:
            return
        refused: Unavailable | None = None
        possible = {address: batch for address, batch in threads.items() if is_addressable(address)}
        faults = await self._apply(possible)
        faults |= {address: _impossible(address) for address in threads.keys() - possible.keys()}
        for address, fault in faults.items():
            if isinstance(fault, Unavailable):
                refused = fault
                del threads[address]
            else:
                # This thread stops until an operator has looked; its commits stay in the log, other threads go on.
                await park_thread(self._threads, address, fault)
        done = [delivery for deliveries in threads.values() for delivery in deliveries]
        self._check_connection(connection)
        self._deliveries.ack(done)
        self.commits += len(done)
        if done:
            self._checkpoint.note(min(delivery.seq for delivery in done), max(delivery.seq for delivery in done))
        if refused is not None:
            raise refused
        self._projected(len(done), (time.time_ns() - min(delivery.at for delivery in done)) / 1e9)

    def _check_connection(self, connection: int) -> None:
        # The server may have lost views that are cached, and those that a batch wrote.
        if self._connection() != connection:
            raise Unavailable("the connection to NATS was lost")


def _impossible(address: Address) -> Corrupt:
    return Corrupt(
        f"tenant '{address.tenant[:64]}' and thread '{address.thread[:128]}' have {len(address.tenant)} and "
        f"{len(address.thread)} characters, which is more than Clew allows",
        code="impossible_address",
    )
