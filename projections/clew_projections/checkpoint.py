"""Checkpoints: up to which sequence of a shard every view is known to be in the buckets.

The buckets are not fsynced, so a server that loses power may lose views whose commits were acknowledged to the
consumer. The checkpoint is written into the same buckets after the views, so it is lost with them: a consumer that is
ahead of the checkpoint has to deliver again from there.
"""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
from msgspec import Struct

from clew_events.codec import UNREADABLE
from clew_events.errors import Corrupt
from clew_projections.buckets import Bucket, LostRace, Value, checkpoint_key
from clew_projections.jetstream import JetStream


class Mark(Struct, frozen=True):
    """The value under ``_checkpoint.<shard>``: every commit up to ``seq`` is in this bucket."""

    seq: int


class ConsumerState(Struct, frozen=True):
    """How far a consumer is, in sequences of its stream."""

    class Sequence(Struct, frozen=True):
        """One of a consumer's two ends."""

        stream_seq: int = 0

    delivered: Sequence
    ack_floor: Sequence
    num_pending: int = 0
    num_ack_pending: int = 0


_DECODER: Final = msgspec.json.Decoder(Mark)


class Checkpoint:
    """The checkpoint of one shard, kept in every bucket that the shard is projected into."""

    def __init__(self, js: JetStream, stream: str, consumer: str, buckets: tuple[Bucket, ...], shard: int) -> None:
        self._js = js
        self._consumer = f"{stream}.{consumer}"
        self._buckets = buckets
        self._key = checkpoint_key(shard)
        self._written = 0
        self._due = 0.0

    async def rewind(self) -> int:
        """Make the consumer deliver again whatever the buckets may have lost; up to which sequence that goes.

        Raises:
            Unavailable: JetStream does not answer.
        """
        marks = [_seq(await bucket.get(self._key)) for bucket in self._buckets]
        self._written = min(marks)
        state = await self.state()
        if state.ack_floor.stream_seq <= self._written:
            return 0
        await self._js.api(f"CONSUMER.RESET.{self._consumer}", {"seq": self._written + 1})
        return state.delivered.stream_seq

    async def advance(self, every: float, *, reached: int) -> None:
        """Write the checkpoint if ``every`` seconds have passed and a commit past it, up to ``reached``, was projected.

        Raises:
            Unavailable: JetStream does not answer.
        """
        now = asyncio.get_running_loop().time()
        if reached <= self._written or now < self._due:
            return
        self._due = now + every
        floor = (await self.state()).ack_floor.stream_seq
        if floor > self._written:
            for bucket in self._buckets:
                await self._write(bucket, floor)
            self._written = floor

    async def state(self) -> ConsumerState:
        """How far the consumer is."""
        return msgspec.convert(await self._js.api(f"CONSUMER.INFO.{self._consumer}"), ConsumerState)

    async def _write(self, bucket: Bucket, seq: int) -> None:
        while True:
            value = await bucket.get(self._key)
            if value is not None and _seq(value) >= seq:
                return
            try:
                await bucket.put(self._key, msgspec.json.encode(Mark(seq)), value.revision if value else 0)
            except LostRace:
                continue
            return


def _seq(value: Value | None) -> int:
    if value is None or not value.body:
        return 0
    try:
        return _DECODER.decode(value.body).seq
    except UNREADABLE as fault:
        raise Corrupt(f"not a checkpoint: {fault}", code="unreadable_checkpoint") from fault
