"""The buckets: current state, kept in JetStream key-value buckets that any NATS client can read.

Each generation has three (see :mod:`clew_projections.generations`), with its number at the end of their names.

``clew_threads_v1`` holds a :class:`~clew_projections.views.ThreadView` under ``<tenant>.<thread>``, and keys of the
projector's own that begin with ``_`` (which no tenant does). ``clew_messages_v1`` holds a
:class:`~clew_projections.views.MessageView` under ``<tenant>.<thread>.<ordinal>``, ordinals being dense, so a page of
messages is one request that names exactly the keys wanted. ``clew_commands_v1`` is described in
:mod:`clew_projections.buckets.spent`.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Concatenate, Final, ParamSpec, TypeVar

from msgspec import Struct

from clew_events.errors import Corrupt, TooLarge, Unavailable
from clew_events.subjects import Address
from clew_projections.jetstream.calls import JetStream
from clew_projections.jetstream.messages import EXPECTED, Stored
from clew_projections.jetstream.reading import MULTI_LAST


def bucket_names(generation: int) -> tuple[str, str, str]:
    """The names of a generation's buckets: of threads, messages and command ids."""
    return f"clew_threads_v{generation}", f"clew_messages_v{generation}", f"clew_commands_v{generation}"


THREADS, MESSAGES, COMMANDS = bucket_names(1)
"""The buckets that a deployment begins with."""
NO_BUCKET: Final = "no_bucket"
"""The code of the error that a bucket is gone."""
CHECKPOINTS: Final = "_checkpoint"
PARKED: Final = "_parked"
PROVED: Final = "_proved"
WRITES_AT_ONCE: Final = 256
"""Writes to one bucket that a process has under way; more would wait in the server, and be taken for lost."""
_NOBODY: Final = frozenset({"no_responders", "jetstream_10059"})
WRONG_REVISION: Final = frozenset({10071, 10164})


P = ParamSpec("P")
T = TypeVar("T")


def _explained(
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
        self._under_way = asyncio.Semaphore(WRITES_AT_ONCE)

    def subject(self, key: str) -> str:
        """The subject that a key's values are published on."""
        return self._prefix + key

    @_explained
    async def get(self, key: str) -> Value | None:
        """The value under a key, as one of the replicas has it."""
        stored = await self._js.last(self.stream, self.subject(key))
        return Value(stored.body, stored.seq) if stored is not None else None

    @_explained
    async def latest(self, key: str) -> Value | None:
        """The value under a key. Never behind."""
        if not self.replicated:
            return await self.get(key)
        stored = await self._js.newest_at_leader(self.stream, self.subject(key), 0)
        return Value(stored.body, stored.seq) if stored is not None else None

    @_explained
    async def latest_of(self, keys: Iterable[str]) -> dict[str, Value]:
        """The values under many keys, of those that have one. Never behind."""
        wanted = list(keys)
        if not self.replicated:
            return await self.get_many(wanted)
        return self._by_key(await self._js.lasts_at_leader(self.stream, [self.subject(key) for key in wanted]))

    @_explained
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

    @_explained
    async def get_many(self, keys: Iterable[str]) -> dict[str, Value]:
        """The values under many keys, of those that have one."""
        return self._by_key(await self._js.lasts(self.stream, [self.subject(key) for key in keys]))

    async def matching(self, pattern: str) -> dict[str, Value]:
        """The values under all keys that match a pattern with wildcards. Never behind."""
        return await self.latest_of(await self.keys(pattern))

    @_explained
    async def keys(self, pattern: str) -> list[str]:
        """All keys that match a pattern with wildcards, deleted ones included."""
        skip = len(self._prefix)
        return [each[skip:] for each in await self._js.subjects(self.stream, self.subject(pattern))]

    def _by_key(self, stored: dict[str, Stored]) -> dict[str, Value]:
        skip = len(self._prefix)
        return {subject[skip:]: Value(each.body, each.seq) for subject, each in stored.items()}

    async def delete(self, key: str, revision: int) -> None:
        """Take a key away that is at ``revision``, with the marker that key-value clients expect.

        Raises:
            LostRace: the key is at another revision.
            Unavailable: the bucket did not take it.
        """
        await self._publish(key, b"", {"KV-Operation": "DEL", EXPECTED: str(revision)})

    async def put(self, key: str, body: bytes, revision: int) -> int:
        """Write a key that is at ``revision`` (0: was never written), and give its new revision.

        Raises:
            LostRace: the key is at another revision.
            Corrupt: the value has more bytes than the bucket takes.
            Unavailable: the bucket did not take it.
        """
        return await self._publish(key, body, {EXPECTED: str(revision)})

    @_explained
    async def _publish(self, key: str, body: bytes, headers: dict[str, str]) -> int:
        try:
            async with self._under_way:
                ack = await self._js.publish(self.subject(key), body, headers)
        except TooLarge as fault:
            raise Corrupt(f"the view under {key} cannot be kept: {fault.message}", code="view_too_large") from fault
        if ack.error is None:
            return ack.seq
        if ack.error.err_code in WRONG_REVISION:
            raise LostRace(key)
        raise Unavailable(f"the bucket {self.stream} refused {key}: {ack.error.description}", code="bucket_refused")


def thread_key(address: Address) -> str:
    """The key of a thread's view."""
    return f"{address.tenant}.{address.thread}"


def message_key(address: Address, ordinal: int) -> str:
    """The key of a message's view."""
    return f"{address.tenant}.{address.thread}.{ordinal}"


def checkpoint_key(shard: int) -> str:
    """The key that says up to which sequence of a shard every view is written."""
    return f"{CHECKPOINTS}.{shard:02d}"


def proved_key(shard: int) -> str:
    """The key that says how far a shard was compared with the log."""
    return f"{PROVED}.{shard:02d}"


def parked_key(address: Address) -> str:
    """The key that says that a thread's history cannot be folded, and why."""
    return f"{PARKED}.{address.tenant}.{address.thread}"
