"""Access to the JetStream key-value buckets that hold the current state. Any NATS client can read them.

:mod:`clew_projections.kv.key_names` lists the buckets and their keys.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from typing import Concatenate, Final, NamedTuple, ParamSpec, TypeVar

from msgspec import Struct

from clew_events.errors import Corrupt, TooLarge, Unavailable
from clew_projections.nats.jetstream import JetStream
from clew_projections.nats.request_mux import Request
from clew_projections.nats.stream_messages import EXPECTED, Ack, ApiError, StoredMessage, encode_guard

NO_BUCKET: Final = "no_bucket"
"""The error code for a bucket that does not exist."""
WRITES_AT_ONCE: Final = 256
"""Writes in one chunk for a bucket; more would wait in the server until they time out."""
BYTES_AT_ONCE: Final = 4 * 1024 * 1024
CHUNKS_IN_FLIGHT: Final = 2
"""Chunks of writes that a process has in flight for one bucket."""
_MISSING: Final = frozenset({"no_responders", "jetstream_10059"})
TOO_LARGE: Final = 10054
WRONG_REVISION: Final = frozenset({10071, 10164})


P = ParamSpec("P")
T = TypeVar("T")


def _explain_missing_bucket(
    method: Callable[Concatenate[Bucket, P], Awaitable[T]],
) -> Callable[Concatenate[Bucket, P], Coroutine[None, None, T]]:
    """Add to the error for a missing bucket what to do about it."""

    @functools.wraps(method)
    async def explained(self: Bucket, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await method(self, *args, **kwargs)
        except Unavailable as fault:
            if fault.code not in _MISSING:
                raise
            raise Unavailable(
                f"the bucket {self.stream} is gone, or its server is: if it stays so, 'clew init' has another "
                f"generation of buckets built from the log ({fault.message})",
                code=NO_BUCKET,
            ) from fault

    return explained


class Value(Struct, frozen=True):
    """A value and its revision, which guards the next write. A deleted key has an empty body."""

    body: bytes
    revision: int


class LostRace(Exception):
    """Another writer changed the key first. Read it again."""


Fault = Corrupt | Unavailable
"""Why a value was not written: the bucket cannot hold it, or refused it, in which case the write may be retried."""


class Write(NamedTuple):
    """A value for a key that is at ``revision`` (0: never written)."""

    key: str
    body: bytes
    revision: int


class Bucket:
    """One bucket: reads are direct, writes are guarded by the key's revision.

    On a cluster any replica answers a direct read and may lag without bound. A read that decides something goes to the
    leader (``latest``).
    """

    def __init__(self, js: JetStream, name: str, *, forgets: bool = False, replicated: bool = True) -> None:
        """``forgets`` if its values expire; ``replicated`` unless the bucket has a single replica."""
        self._js = js
        self.replicated = replicated
        self.forgets = forgets
        self.stream = f"KV_{name}"
        self._prefix = f"$KV.{name}."
        self._in_flight = asyncio.Semaphore(CHUNKS_IN_FLIGHT)

    def subject(self, key: str) -> str:
        """Return the subject on which the values of a key are published."""
        return self._prefix + key

    @_explain_missing_bucket
    async def get(self, key: str) -> Value | None:
        """Return the value under a key, as any replica has it."""
        stored = await self._js.last(self.stream, self.subject(key))
        return Value(stored.body, stored.seq) if stored is not None else None

    @_explain_missing_bucket
    async def latest(self, key: str) -> Value | None:
        """Return the latest value under a key."""
        if not self.replicated:
            return await self.get(key)
        stored = await self._js.newest_at_leader(self.stream, self.subject(key), 0)
        return Value(stored.body, stored.seq) if stored is not None else None

    @_explain_missing_bucket
    async def latest_of(self, keys: Iterable[str]) -> dict[str, Value]:
        """Return the latest values under keys; keys without a value are left out."""
        wanted = list(keys)
        if not self.replicated:
            return await self.get_many(wanted)
        return self._by_key(await self._js.lasts_at_leader(self.stream, [self.subject(key) for key in wanted]))

    @_explain_missing_bucket
    async def get_many(self, keys: Iterable[str]) -> dict[str, Value]:
        """Return the values under keys, as any replica has them; keys without a value are left out."""
        return self._by_key(await self._js.lasts(self.stream, [self.subject(key) for key in keys]))

    async def values_matching(self, pattern: str) -> dict[str, Value]:
        """Return the latest values under all keys that match a pattern with wildcards."""
        return await self.latest_of(await self.keys(pattern))

    @_explain_missing_bucket
    async def keys(self, pattern: str) -> list[str]:
        """Return all keys that match a pattern with wildcards, deleted keys included."""
        skip = len(self._prefix)
        return [subject[skip:] for subject in await self._js.subjects(self.stream, self.subject(pattern))]

    def _by_key(self, stored: dict[str, StoredMessage]) -> dict[str, Value]:
        skip = len(self._prefix)
        return {subject[skip:]: Value(message.body, message.seq) for subject, message in stored.items()}

    @_explain_missing_bucket
    async def delete(self, key: str, revision: int) -> None:
        """Delete a key that is at ``revision``, with the marker that key-value clients expect.

        Raises:
            LostRace: the key is at another revision.
            Unavailable: the bucket refuses the write or does not answer.
        """
        headers = {"KV-Operation": "DEL", EXPECTED: str(revision)}
        self._revision(key, await self._js.publish(self.subject(key), b"", headers))

    @_explain_missing_bucket
    async def put(self, key: str, body: bytes, revision: int) -> int:
        """Write a key that is at ``revision`` (0: never written), and return its new revision.

        Raises:
            LostRace: the key is at another revision.
            Corrupt: the value has more bytes than the bucket accepts.
            Unavailable: the bucket refuses the write or does not answer.
        """
        try:
            ack = await self._js.publish(self.subject(key), body, {EXPECTED: str(revision)})
        except TooLarge as fault:
            raise _too_large(key, fault.message) from fault
        return self._revision(key, ack)

    async def put_all(self, writes: Sequence[Write]) -> list[int | LostRace | Fault]:
        """Write many keys independently; return for each its new revision, or the error that :meth:`put` raises.

        Raises:
            Unavailable: the bucket does not answer; some of the writes may have been stored.
        """
        return [outcome for chunk in _chunks(writes) for outcome in await self._put_chunk(chunk)]

    @_explain_missing_bucket
    async def _put_chunk(self, chunk: Sequence[Write]) -> list[int | LostRace | Fault]:
        prefix = self._prefix
        messages = [Request(prefix + key, body, encode_guard(revision)) for key, body, revision in chunk]
        try:
            async with self._in_flight:
                acks = await self._js.publish_each(messages)
        except TooLarge:
            return [await self._try_put(write) for write in chunk]
        return [
            ack.seq if ack.error is None else self._refusal(write.key, ack.error)
            for write, ack in zip(chunk, acks, strict=True)
        ]

    async def _try_put(self, write: Write) -> int | LostRace | Fault:
        try:
            return await self.put(*write)
        except (LostRace, Corrupt) as fault:
            return fault

    def _revision(self, key: str, ack: Ack) -> int:
        if ack.error is None:
            return ack.seq
        raise self._refusal(key, ack.error)

    def _refusal(self, key: str, error: ApiError) -> LostRace | Fault:
        if error.err_code in WRONG_REVISION:
            return LostRace(key)
        reason = error.description
        if error.err_code == TOO_LARGE:
            return _too_large(key, reason)
        return Unavailable(f"the bucket {self.stream} refused {key}: {reason}", code="bucket_refused")


def _too_large(key: str, reason: str) -> Corrupt:
    return Corrupt(f"the view under {key} cannot be stored: {reason}", code="view_too_large")


def _chunks(writes: Sequence[Write]) -> Iterator[Sequence[Write]]:
    if writes and len(writes) <= WRITES_AT_ONCE and sum([len(write.body) for write in writes]) <= BYTES_AT_ONCE:
        yield writes
        return
    start, size = 0, 0
    for index, write in enumerate(writes):
        size += len(write.body)
        if index > start and (index - start == WRITES_AT_ONCE or size > BYTES_AT_ONCE):
            yield writes[start:index]
            start, size = index, len(write.body)
    if writes:
        yield writes[start:]
