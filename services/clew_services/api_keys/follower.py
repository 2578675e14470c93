"""The follower of the bucket of keys: a process knows of a new or revoked key within milliseconds.

The server publishes over core NATS which key has changed (the bucket's stream is republished, without content), and the
key is then read from the stream's leader: a forged notification cannot make a process trust a key. Because
notifications may be missed while a connection is down, all keys are read again after a reconnect and at an interval.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Final

import nats.errors
from nats.aio.client import Client
from nats.aio.msg import Msg

from clew_events.backoff import delays
from clew_events.errors import Unavailable
from clew_projections.kv.bucket import Value
from clew_services.api_keys.holders import Keys
from clew_services.api_keys.issued_key import IssuedKey, id_of, is_id, now, read
from clew_services.api_keys.key_bucket import COARSE, LIVE_KEYS, KeyBucket

ANEW: Final = 30.0
"""Interval, in seconds, at which all keys are read again."""
NOTE: Final = 5.0
"""Interval, in seconds, at which the uses of keys are recorded."""
LEAVING: Final = 2.0
"""Seconds that recording the last uses may take on shutdown."""


@contextlib.asynccontextmanager
async def follow_keys(
    nc: Client,
    ring: KeyBucket,
    keys: Keys,
    reconnected: list[Callable[[], None]],
    *,
    anew: float = ANEW,
    note: float = NOTE,
) -> AsyncIterator[None]:
    """Keep ``keys`` up to date with the bucket for the duration of the block, and record uses in the bucket.

    The block begins when all keys were read; retries without limit until then. The caller must call the functions in
    ``reconnected`` after every reconnect of ``nc``.
    """
    follower = Follower(ring, keys, anew)
    subscription = await nc.subscribe(f"{LIVE_KEYS}.*", cb=follower.on_change)
    reconnected.append(follower.on_reconnect)
    try:
        async with asyncio.TaskGroup() as tasks:
            both = (tasks.create_task(follower.follow()), tasks.create_task(follower.note(note)))
            try:
                await follower.caught_up.wait()
                try:
                    yield
                finally:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(LEAVING):
                            await follower.note_used()
            finally:
                for task in both:
                    task.cancel()
    finally:
        reconnected.remove(follower.on_reconnect)
        with contextlib.suppress(nats.errors.Error):
            await subscription.unsubscribe()


SOON: Final = 1.0
"""Seconds after connecting until all keys are read again: other servers learn of a subscription with a delay."""

_LOG: Final = logging.getLogger("clew.keys")


class Follower:
    """Tracks each key and its revision, and updates ``keys``.

    ``anew`` is the interval, in seconds, at which all keys are read again, in case notifications were missed.
    """

    def __init__(self, ring: KeyBucket, keys: Keys, anew: float) -> None:
        self.caught_up = asyncio.Event()
        self._ring = ring
        self._keys = keys
        self._anew = anew
        self._known: dict[str, tuple[int, IssuedKey | None]] = {}
        self._changed: set[str] = set()
        self._news = asyncio.Event()
        self._due = 0.0
        self._connected_anew = True

    async def on_change(self, message: Msg) -> None:
        """Handle the notification that a key has changed."""
        key_id = message.subject.rpartition(".")[2]
        if is_id(key_id):
            self._changed.add(key_id)
            self._news.set()

    def on_reconnect(self) -> None:
        """Have all keys read again, because notifications may have been missed."""
        self._connected_anew = True
        self._due = 0.0
        self._news.set()

    async def follow(self) -> None:
        """Follow the bucket until cancelled; ``caught_up`` is set once all keys were read."""
        clock, pauses = asyncio.get_running_loop().time, delays()
        while True:
            self._news.clear()
            try:
                if clock() >= self._due:
                    await self._read_all(clock())
                await self._read_changed()
            except Unavailable as fault:
                _LOG.warning("the API keys cannot be read: %s", fault)
                self._due = 0.0
                await asyncio.sleep(next(pauses))
                continue
            self.caught_up.set()
            pauses = delays()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout_at(self._due):
                    await self._news.wait()

    async def _read_all(self, now: float) -> None:
        self._due = now + (min(SOON, self._anew) if self._connected_anew else self._anew)
        self._connected_anew = False
        before = tuple(self._known)
        there = await self._ring.ids()
        for key_id, value in (await self._ring.values(there)).items():
            self._learn(key_id, value)
        for gone in set(before).difference(there):
            self._learn(gone, None)

    async def _read_changed(self) -> None:
        while self._changed:
            key_id = self._changed.pop()
            try:
                value = await self._ring.value(key_id)
            except Unavailable:
                self._changed.add(key_id)
                raise
            self._learn(key_id, value)

    def _learn(self, key_id: str, value: Value | None) -> None:
        revision, before = self._known.pop(key_id, (0, None))
        if value is not None and value.revision <= revision:
            self._known[key_id] = (revision, before)
            return
        if before is not None:
            self._keys.shut_out(before.digest)
        if value is None:
            return
        issued = read(key_id, value.body)
        self._known[key_id] = (value.revision, issued)
        if issued is not None and issued.revoked_at is None:
            self._keys.admit(issued.digest, issued.holder)

    async def note(self, every: float) -> None:
        """Record which keys are used, at an interval in seconds, until cancelled."""
        while True:
            await asyncio.sleep(every)
            await self.note_used()

    async def note_used(self) -> None:
        """Record which keys were used since the last call."""
        at = now()
        for used in self._keys.take_used():
            _, issued = self._known.get(id_of(used), (0, None))
            if issued is None or (issued.last_used_at is not None and at - issued.last_used_at < COARSE):
                continue
            try:
                await self._ring.note_use(issued.id, at)
            except Unavailable as fault:
                # The next use of the key is recorded.
                _LOG.info("the use of the API key %s is not recorded: %s", issued.id, fault)
