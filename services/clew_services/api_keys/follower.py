"""Following the bucket of keys, so that a process knows of a new or revoked key within milliseconds."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Final

from nats.aio.client import Client

from clew_events.errors import Unavailable
from clew_projections.kv.bucket import Value
from clew_projections.kv.watcher import ANEW, KvWatcher
from clew_services.api_keys.holders import Keys
from clew_services.api_keys.key_bucket import COARSE, LIVE_KEYS, IssuedKey, KeyBucket, id_of, is_id, now, read
from clew_services.api_keys.sessions import is_session_record

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
    follower = Follower(ring, keys)
    watcher = KvWatcher(follower.read, follower.read_all, name="the API keys", log=_LOG, anew=anew)
    async with watcher.watch(nc, LIVE_KEYS, reconnected), asyncio.TaskGroup() as tasks:
        noting = tasks.create_task(follower.note(note))
        try:
            await watcher.current.wait()
            try:
                yield
            finally:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(LEAVING):
                        await follower.note_used()
        finally:
            noting.cancel()


_LOG: Final = logging.getLogger("clew.keys")


class Follower:
    """Knows each key and the revision at which it was seen, and tells ``keys`` what they open."""

    def __init__(self, ring: KeyBucket, keys: Keys) -> None:
        self._ring = ring
        self._keys = keys
        self._known: dict[str, tuple[int, IssuedKey | None]] = {}

    async def read_all(self) -> None:
        """Learn what has become of every key.

        Raises:
            Unavailable: the bucket does not answer.
        """
        self._keys.sessions.clear()
        before = tuple(self._known)
        there = await self._ring.ids()
        for key_id, value in (await self._ring.values(there)).items():
            self._learn(key_id, value)
        for gone in set(before).difference(there):
            self._learn(gone, None)

    async def read(self, key_id: str) -> None:
        """Learn what has become of one key; nothing is read for what cannot be an id.

        Raises:
            Unavailable: the bucket does not answer.
        """
        if is_session_record(key_id):
            self._keys.sessions.pop(key_id, None)  # it is read when it is next used
        if is_id(key_id):
            self._learn(key_id, await self._ring.value(key_id))

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
