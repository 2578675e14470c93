"""The progress of the projection of each shard: idle, behind, or stuck.

A shard is stuck when it is behind and nothing was acknowledged for a while. That is known from the acknowledgement
floor, if it stayed the same between observations, and from JetStream's time of the last acknowledgement. The latter
counts from the start of this process at the earliest, so that a projector that has just started is not called stuck.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Literal, TypeVar

import msgspec
from msgspec import Struct

from clew_events.errors import ClewError
from clew_events.subjects import event_stream, own_subjects
from clew_projections.nats.jetstream import JetStream
from clew_projections.nats.stream_messages import ConsumerInfo, StreamInfo

TIME: Final = 2.0
"""Seconds to wait for an answer of JetStream."""
GIVEN: Final = 5.0
"""Seconds after the last delivery in which a projector counts as asking; it tries again within two."""

Standing = Literal["idle", "behind", "stuck"]
T = TypeVar("T")


class Shard(Struct, frozen=True, kw_only=True):
    """One shard of the log, and its projection, at a moment.

    ``behind`` counts commits that are not projected yet, ``lag`` is the age in seconds of the oldest of them, and
    ``still`` the time in seconds without an acknowledgement although some wait. ``asking`` tells that a projector asks
    for commits, or was given some a moment ago. ``trouble`` says which part of the state is unknown; the numbers are
    then 0.
    """

    shard: int
    threads: int = 0
    commits: int = 0
    bytes: int = 0
    last_seq: int = 0
    behind: int = 0
    lag: float = 0.0
    still: float = 0.0
    asking: bool = False
    trouble: tuple[str, ...] = ()

    def state(self, patience: float) -> Standing:
        """The state, where ``patience`` seconds without an acknowledgement make a shard stuck; never if that is 0."""
        if self.behind == 0:
            return "idle"
        return "stuck" if 0 < patience <= self.still else "behind"


class StoredReply(Struct, frozen=True):
    """The reply to ``STREAM.MSG.GET``: one stored message, empty if there is none."""

    class Message(Struct, frozen=True):
        """The message: when it was stored, and its body."""

        time: datetime | None = None
        data: bytes = b""

    message: Message = Message()


class Account(Struct, frozen=True):
    """The reply to ``INFO``: bytes that the account stores, replicas included, and its limit."""

    class Limits(Struct, frozen=True):
        """The limits; none is -1."""

        max_storage: int = -1

    storage: int = 0
    limits: Limits = Limits()

    def limit(self, of_each_server: int, replicas: int) -> int:
        """The limit in bytes; without one of the account, that of the servers for all replicas; 0 if unknown."""
        return self.limits.max_storage if self.limits.max_storage > 0 else of_each_server * replicas


class Progress:
    """Observes all shards of a deployment, and remembers since when each has not moved."""

    def __init__(self, js: JetStream, shards: int, consumer: Callable[[], str], seconds: float = TIME) -> None:
        """``consumer`` returns the name of the live buckets' consumers; ``seconds`` is the timeout of each answer."""
        self._live_consumer = consumer
        self._consumer = consumer()
        self._js = js
        self._shards = shards
        self._seconds = seconds
        self._clock: Callable[[], float] = time.monotonic
        self._began = self._clock()
        self._stands: dict[int, tuple[int, float]] = {}

    async def look(self) -> tuple[Shard, ...]:
        """Every shard, now. What does not answer is said in its ``trouble``."""
        if self._consumer != (consumer := self._live_consumer()):
            # Another generation is live, and its projectors need time to begin.
            self._consumer, self._began, self._stands = consumer, self._clock(), {}
        return tuple(await asyncio.gather(*(self._shard(number) for number in range(self._shards))))

    async def _shard(self, number: int) -> Shard:
        name = event_stream(number)
        shard, subjects = own_subjects(self._shards)
        own = {"subjects_filter": subjects} if number == shard else None
        stream, consumer = await asyncio.gather(
            self._ask(f"STREAM.INFO.{name}", f"stream {name}", StreamInfo, own),
            self._ask(f"CONSUMER.INFO.{name}.{self._consumer}", f"consumer {name}/{self._consumer}", ConsumerInfo),
        )
        if isinstance(stream, str) or isinstance(consumer, str):
            return Shard(shard=number, trouble=tuple(each for each in (stream, consumer) if isinstance(each, str)))
        behind = consumer.num_pending + consumer.num_ack_pending
        lag = still = 0.0
        if behind:
            now, oldest = (
                consumer.ts or datetime.now(UTC),
                await self._stored_at(name, consumer.ack_floor.stream_seq + 1),
            )
            lag = max(0.0, (now - oldest).total_seconds()) if oldest is not None else 0.0
            moved = [each for each in (oldest, consumer.ack_floor.last_active) if each is not None]
            still = self._still(number, consumer.ack_floor.stream_seq, (now - max(moved, default=now)).total_seconds())
        else:
            self._stands.pop(number, None)
        return Shard(
            shard=number,
            # A thread is a subject, and so is a tenant's own history.
            threads=stream.state.num_subjects - len(stream.state.subjects or ()),
            commits=stream.state.last_seq,  # erased ones stand elsewhere, and no other ever leaves the log
            bytes=stream.state.bytes,
            last_seq=stream.state.last_seq,
            behind=behind,
            lag=lag,
            still=still,
            asking=_is_asked(consumer),
        )

    def _still(self, number: int, floor: int, quiet: float) -> float:
        now = self._clock()
        stands = self._stands.get(number)
        if stands is None or stands[0] != floor:
            stands = self._stands[number] = floor, now
        return max(0.0, now - stands[1], min(quiet, now - self._began))

    async def _stored_at(self, stream: str, seq: int) -> datetime | None:
        got = await self._ask(f"STREAM.MSG.GET.{stream}", stream, StoredReply, {"seq": seq})
        return None if isinstance(got, str) else got.message.time

    async def _ask(self, call: str, name: str, form: type[T], request: object = None) -> T | str:
        return await ask_jetstream(self._js, call, name, form, request, seconds=self._seconds)


def _is_asked(consumer: ConsumerInfo) -> bool:
    # While it projects what it was given, and in the pause after that, a projector asks for nothing.
    given, now = consumer.delivered.last_active, consumer.ts or datetime.now(UTC)
    return consumer.num_waiting > 0 or (given is not None and (now - given).total_seconds() < GIVEN)


async def ask_jetstream(
    js: JetStream, call: str, name: str, form: type[T], request: object = None, *, seconds: float = TIME
) -> T | str:
    """JetStream's answer to a call, or the reason why there is none, which calls the stream or consumer ``name``."""
    try:
        async with asyncio.timeout(seconds):
            return msgspec.convert(await js.api(call, request), form)
    except TimeoutError:
        return f"{name} did not answer within {seconds:g} s"
    except ClewError as error:
        return f"{name}: {error.message}"
    except msgspec.ValidationError as fault:
        return f"{name} answered with what cannot be understood: {fault}"
