"""A shard's commits in the order of the log, each once, from any sequence on.

An ephemeral consumer of our own that wants no acknowledgements. Its deliveries are counted; where one is missing, where
the consumer is gone, or after the connection was made anew, another begins behind the last commit that was taken. It
pulls, because the server pushes however much there is, and hands out what a push consumer lost only when asked again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Final

import msgspec
from nats.aio.client import Client

from clew_events.errors import Unavailable
from clew_events.subjects import event_stream
from clew_projections.deliveries import Deliveries, Delivery
from clew_projections.jetstream import JetStream, Stored

FORGOTTEN_AFTER: Final = 30
"""Seconds without a pull after which the server removes the consumer of a process that died."""


class _Made(msgspec.Struct, frozen=True):
    name: str


class Ordered:
    """Reads one shard of the log from a sequence on, and goes on with what comes."""

    def __init__(self, nc: Client, js: JetStream, shard: int, connection: Callable[[], int]) -> None:
        """``connection`` counts how often the connection was made."""
        self.shard = shard
        self.waiting = 0
        """Commits in the log behind the last one taken, as the server last said."""
        self._nc = nc
        self._js = js
        self._stream = event_stream(shard)
        self._connection = connection
        self._after = 0
        self._made = 0
        self._taken = 0
        self._consumer: str | None = None
        self._deliveries: Deliveries | None = None

    async def begin(self, after: int) -> None:
        """Go on behind a sequence; 0 is the beginning of the log."""
        await self.close()
        self._after = after

    async def next(self, limit: int) -> list[Stored]:
        """The commits that come next, at most ``limit``; waits a moment for the first, and may give none.

        Raises:
            Unavailable: JetStream does not answer. The next call goes on where this one would have.
        """
        try:
            deliveries = await self._consuming()
            batch = await deliveries.next(limit)
        except Unavailable:
            await self.close()
            raise
        found: list[Stored] = []
        for delivery in batch:
            deliveries.forget(delivery)
            place, self.waiting = _count(delivery)
            if place != self._taken + 1:
                await self.close()
                break
            self._taken = place
            self._after = delivery.seq
            found.append(delivery.stored())
        return found

    async def close(self) -> None:
        """Stop reading, and take the consumer away if the server can be reached."""
        deliveries, self._deliveries = self._deliveries, None
        consumer, self._consumer = self._consumer, None
        if deliveries is not None:
            await deliveries.close()
        if consumer is not None and self._made == self._connection() and self._nc.is_connected:
            with contextlib.suppress(Unavailable):
                await self._js.api(f"CONSUMER.DELETE.{self._stream}.{consumer}")

    async def _consuming(self) -> Deliveries:
        if self._deliveries is not None and self._made == self._connection():
            return self._deliveries
        await self.close()
        self._made = self._connection()
        start: dict[str, object] = {"deliver_policy": "all"}
        if self._after:
            start = {"deliver_policy": "by_start_sequence", "opt_start_seq": self._after + 1}
        config = {
            **start,
            "ack_policy": "none",
            "mem_storage": True,
            "num_replicas": 1,
            "inactive_threshold": FORGOTTEN_AFTER * 1_000_000_000,
        }
        answer = await self._js.api(f"CONSUMER.CREATE.{self._stream}", {"stream_name": self._stream, "config": config})
        self._consumer = msgspec.convert(answer, _Made).name
        self._taken = 0
        self._deliveries = Deliveries(self._nc, self._stream, self._consumer)
        return self._deliveries


def _count(delivery: Delivery) -> tuple[int, int]:
    """Which of the consumer's deliveries this is, and how many commits wait behind it."""
    tokens = delivery.reply.split(".")
    return int(tokens[-3]), int(tokens[-1])
