"""The projector's position in a shard: the sequence up to which every view is in the buckets.

The buckets are not fsynced, so a server that dies may lose views whose commits were acknowledged to the consumer. The
position is written into the same buckets after the views, so it is lost with them: what a consumer delivered after the
position must be delivered again. Its ack floor does not tell what that is: with several projectors, commits above it
are acknowledged as well.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Final

import msgspec
from msgspec import Struct

from clew_events.codec import UNREADABLE
from clew_projections.kv.bucket import Bucket, LostRace, Value
from clew_projections.kv.key_names import checkpoint_key
from clew_projections.nats.jetstream import JetStream, consumer_info
from clew_projections.nats.stream_messages import ConsumerInfo

_LOG: Final = logging.getLogger("clew.kv")


RESETS: Final = 5
"""How often a consumer is reset until its ack floor is where it should be: nats-server (2.15.1) now and then answers,
and goes on, with one above commits that are not acknowledged yet."""


class ProjectorPosition(Struct, frozen=True):
    """The value under ``_checkpoint.<shard>``: every commit up to ``seq`` is in this bucket."""

    seq: int


_DECODER: Final = msgspec.json.Decoder(ProjectorPosition)


class PositionStore:
    """The projector's position in one shard, stored in every bucket that the shard is projected into."""

    def __init__(
        self,
        js: JetStream,
        stream: str,
        consumer: str,
        buckets: tuple[Bucket, ...],
        shard: int,
        *,
        connection: Callable[[], int],
    ) -> None:
        """``connection`` returns how often the connection to NATS was made."""
        self._js = js
        self._stream = stream
        self._consumer = consumer
        self._buckets = buckets
        self._shard = shard
        self._connection = connection
        self._written: int | None = None
        self._reached = 0
        self._due = 0.0

    async def rewind(self) -> None:
        """Make the consumer deliver again all commits whose views the buckets may have lost.

        The consumer must have processed the caller's acknowledgements: one that it processes later counts again.

        Raises:
            Unavailable: JetStream does not answer.
        """
        mark = await read_position(self._buckets, self._shard)
        if self._written is not None and self._written < mark:
            await self._write(self._written, back=True)
            mark = self._written
        self._written = mark
        if (await self.state()).delivered.stream_seq > mark:
            await self._reset(mark)

    def note(self, first: int, last: int) -> None:
        """Note the sequences of the first and the last commit of a batch that was projected.

        A commit that this projector wrote the position of comes again when another one has moved the position back.
        """
        self._reached = max(self._reached, last)
        if self._written is not None and first <= self._written:
            self._written = first - 1

    async def advance(self, every: float) -> None:
        """Write the position if ``every`` seconds have passed and a later commit was projected.

        Raises:
            Unavailable: JetStream does not answer.
        """
        now = asyncio.get_running_loop().time()
        written = self._written or 0
        if self._reached <= written or now < self._due:
            return
        self._due = now + every
        connection = self._connection()
        floor = (await self.state()).ack_floor.stream_seq
        if floor <= written:
            return
        await self._write(floor)
        if connection == self._connection():
            self._written = floor
        # Otherwise views before this position may be lost, and rewind() moves it back.

    async def state(self) -> ConsumerInfo:
        """Read the progress of the consumer."""
        return await consumer_info(self._js, self._stream, self._consumer)

    async def _reset(self, floor: int) -> None:
        for _ in range(RESETS):
            answer = await self._js.api(f"CONSUMER.RESET.{self._stream}.{self._consumer}", {"seq": floor + 1})
            if msgspec.convert(answer, ConsumerInfo).ack_floor.stream_seq <= floor:
                return

    async def _write(self, seq: int, *, back: bool = False) -> None:
        for bucket in self._buckets:
            await self._write_to(bucket, seq, back=back)

    async def _write_to(self, bucket: Bucket, seq: int, *, back: bool) -> None:
        key = checkpoint_key(self._shard)
        while True:
            value = await bucket.latest(key)
            if not back and decode_position(key, value) >= seq:
                return
            try:
                await bucket.put(key, msgspec.json.encode(ProjectorPosition(seq)), value.revision if value else 0)
            except LostRace:
                continue
            return


async def read_position(buckets: Iterable[Bucket], shard: int) -> int:
    """Return the sequence of a shard up to which all the buckets hold every view.

    In a bucket whose values expire the position may have expired, after all values before it: then it does not count.

    Raises:
        Unavailable: a bucket does not answer.
    """
    key = checkpoint_key(shard)
    values = [(bucket, await bucket.latest(key)) for bucket in buckets]
    return min(decode_position(key, value) for bucket, value in values if value is not None or not bucket.forgets)


def decode_position(key: str, value: Value | None) -> int:
    """Return the sequence of a stored position; 0 if there is none or it is unreadable."""
    if value is None or not value.body:
        return 0
    try:
        return _DECODER.decode(value.body).seq
    except UNREADABLE:
        _LOG.warning("the value under %s is not a position: everything is projected again", key)
        return 0
