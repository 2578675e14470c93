"""The buckets: current state, kept in JetStream key-value buckets that any NATS client can read.

Which there are, and what is under which key, is in :mod:`clew_projections.kv.key_names`.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Iterator, Sequence
from typing import Concatenate, Final, NamedTuple, ParamSpec, TypeVar

from msgspec import Struct

from clew_events.errors import Corrupt, TooLarge, Unavailable
from clew_projections.nats.jetstream import JetStream
from clew_projections.nats.stream_messages import EXPECTED, Ack, OutgoingMessage, StoredMessage
from clew_projections.nats.stream_reads import MULTI_LAST

NO_BUCKET: Final = "no_bucket"
"""The code of the error that a bucket is gone."""
WRITES_AT_ONCE: Final = 256
"""Writes to one bucket that are sent in one go; more would wait in the server, and be taken for lost."""
BYTES_AT_ONCE: Final = 4 * 1024 * 1024
CROWDS: Final = 2
"""How many such goes a process has under way for one bucket."""
_NOBODY: Final = frozenset({"no_responders", "jetstream_10059"})
TOO_LARGE: Final = 10054
WRONG_REVISION: Final = frozenset({10071, 10164})


P = ParamSpec("P")
T = TypeVar("T")


def _explain_missing_bucket(
    method: Callable[Concatenate[Bucket, P], Awaitable[T]],
) -> Callable[Concatenate[Bucket, P], Coroutine[None, None, T]]:
    """Says of a failure that comes of nobody having such a bucket what to do about it."""

    @functools.wraps(method)
    async def explained(self: Bucket, /, *args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await method(self, *args, **kwargs)
        except Unavailable as fault:
            if fault.code not in _NOBODY:
                raise
            raise Unavailable(
                f"the bucket {self.stream} is gone, or its server is: if it stays so, 'clew init' has another "
                f"generation of buckets made from the log ({fault.message})",
                code=NO_BUCKET,
            ) from fault

    return explained


class Value(Struct, frozen=True):
    """A value and the revision it was found at, which guards the next write. A deleted key has an empty body."""

    body: bytes
    revision: int


class LostRace(Exception):
    """Somebody else wrote the key first. Read it again."""


Fault = Corrupt | Unavailable
"""Why a value was not written: it cannot be kept, or was refused and may be tried again."""


class Write(NamedTuple):
    """A value for a key that is at ``revision`` (0: was never written)."""

    key: str
    body: bytes
    revision: int


class Bucket:
    """One bucket: reads are direct, writes are guarded by the key's revision.

    On a cluster any replica answers a direct read, and may be behind, each by as much as it likes. A read that decides
    something is asked of the leader instead (``latest``), or tells how far the replica was (``get_marked``).
    """

    def __init__(self, js: JetStream, name: str, *, forgets: bool = False, replicated: bool = True) -> None:
        """``forgets`` if its values are kept for a time only; ``replicated`` unless there is one replica alone."""
        self._js = js
        self.replicated = replicated
        self.forgets = forgets
        self.stream = f"KV_{name}"
        self._prefix = f"$KV.{name}."
        self._crowds = asyncio.Semaphore(CROWDS)

    def subject(self, key: str) -> str:
        """The subject that a key's values are published on."""
        return self._prefix + key

    @_explain_missing_bucket
    async def get(self, key: str) -> Value | None:
        """The value under a key, as one of the replicas has it."""
        stored = await self._js.last(self.stream, self.subject(key))
        return Value(stored.body, stored.seq) if stored is not None else None

    @_explain_missing_bucket
    async def latest(self, key: str) -> Value | None:
        """The value under a key. Never behind."""
        if not self.replicated:
            return await self.get(key)
        stored = await self._js.newest_at_leader(self.stream, self.subject(key), 0)
        return Value(stored.body, stored.seq) if stored is not None else None

    @_explain_missing_bucket
    async def latest_of(self, keys: Iterable[str]) -> dict[str, Value]:
        """The values under many keys, of those that have one. Never behind."""
        wanted = list(keys)
        if not self.replicated:
            return await self.get_many(wanted)
        return self._by_key(await self._js.lasts_at_leader(self.stream, [self.subject(key) for key in wanted]))

    @_explain_missing_bucket
    async def get_marked(self, keys: Iterable[str], mark: str) -> tuple[dict[str, Value], Value | None]:
        """The values under many keys, and the one under ``mark``, none of them older than that one."""
        wanted = list(keys)
        # One answer is one replica's, as it was at one moment. If they do not fit into one, the leader has them all.
        if len(wanted) < MULTI_LAST:
            answer = await self._js.lasts_at_once(self.stream, [self.subject(key) for key in (*wanted, mark)])
            found = self._by_key(answer) if answer is not None else {}
            if mark in found:
                return found, found.pop(mark)
        marked = await self.latest(mark)
        return await self.latest_of(wanted), marked

    @_explain_missing_bucket
    async def get_many(self, keys: Iterable[str]) -> dict[str, Value]:
        """The values under many keys, of those that have one."""
        return self._by_key(await self._js.lasts(self.stream, [self.subject(key) for key in keys]))

    async def values_matching(self, pattern: str) -> dict[str, Value]:
        """The values under all keys that match a pattern with wildcards. Never behind."""
        return await self.latest_of(await self.keys(pattern))

    @_explain_missing_bucket
    async def keys(self, pattern: str) -> list[str]:
        """All keys that match a pattern with wildcards, deleted ones included."""
        skip = len(self._prefix)
        return [each[skip:] for each in await self._js.subjects(self.stream, self.subject(pattern))]

    def _by_key(self, stored: dict[str, StoredMessage]) -> dict[str, Value]:
        skip = len(self._prefix)
        return {subject[skip:]: Value(each.body, each.seq) for subject, each in stored.items()}

    @_explain_missing_bucket
    async def delete(self, key: str, revision: int) -> None:
        """Take a key away that is at ``revision``, with the marker that key-value clients expect.

        Raises:
            LostRace: the key is at another revision.
            Unavailable: the bucket did not take it.
        """
        headers = {"KV-Operation": "DEL", EXPECTED: str(revision)}
        self._revision(key, await self._js.publish(self.subject(key), b"", headers))

    @_explain_missing_bucket
    async def put(self, key: str, body: bytes, revision: int) -> int:
        """Write a key that is at ``revision`` (0: was never written), and give its new revision.

        Raises:
            LostRace: the key is at another revision.
            Corrupt: the value has more bytes than the bucket takes.
            Unavailable: the bucket did not take it.
        """
        try:
            ack = await self._js.publish(self.subject(key), body, {EXPECTED: str(revision)})
        except TooLarge as fault:
            raise _too_large(key, fault.message) from fault
        return self._revision(key, ack)

    async def put_all(self, writes: Sequence[Write]) -> list[int | LostRace | Fault]:
        """Write many keys at once, each for itself: its new revision, or what :meth:`put` would have raised.

        Raises:
            Unavailable: the bucket does not answer; it may have taken some of them.
        """
        return [outcome for crowd in _crowds(writes) for outcome in await self._put_crowd(crowd)]

    @_explain_missing_bucket
    async def _put_crowd(self, crowd: Sequence[Write]) -> list[int | LostRace | Fault]:
        messages = [
            OutgoingMessage(self._prefix + key, body, {EXPECTED: str(revision)}) for key, body, revision in crowd
        ]
        try:
            async with self._crowds:
                acks = await self._js.publish_each(messages)
        except TooLarge:
            return [await self._tried(each) for each in crowd]
        return [self._outcome(each.key, ack) for each, ack in zip(crowd, acks, strict=True)]

    async def _tried(self, write: Write) -> int | LostRace | Fault:
        try:
            return await self.put(*write)
        except (LostRace, Corrupt) as fault:
            return fault

    def _revision(self, key: str, ack: Ack) -> int:
        outcome = self._outcome(key, ack)
        if isinstance(outcome, int):
            return outcome
        raise outcome

    def _outcome(self, key: str, ack: Ack) -> int | LostRace | Fault:
        if ack.error is None:
            return ack.seq
        if ack.error.err_code in WRONG_REVISION:
            return LostRace(key)
        said = ack.error.description
        if ack.error.err_code == TOO_LARGE:
            return _too_large(key, said)
        return Unavailable(f"the bucket {self.stream} refused {key}: {said}", code="bucket_refused")


def _too_large(key: str, why: str) -> Corrupt:
    return Corrupt(f"the view under {key} cannot be kept: {why}", code="view_too_large")


def _crowds(writes: Sequence[Write]) -> Iterator[Sequence[Write]]:
    start, size = 0, 0
    for place, each in enumerate(writes):
        size += len(each.body)
        if place > start and (place - start == WRITES_AT_ONCE or size > BYTES_AT_ONCE):
            yield writes[start:place]
            start, size = place, len(each.body)
    if writes:
        yield writes[start:]
