"""A lease: the right to serve the inbox, to sign checkpoints, to erase or to remove, which one process has at a time.

The holder writes its key every :data:`RENEW` seconds. A process that stands by takes the lease when it has seen the key
unchanged for :data:`TTL` seconds by its own clock; the write is guarded by the revision it saw. The holder counts from
before it sent its write, and :data:`MARGIN` seconds less than the others, so its lease has ended before another takes
over.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Coroutine
from secrets import token_hex
from typing import Final

import msgspec

from clew_events.errors import Corrupt, Unavailable
from clew_projections.kv.bucket import Bucket, LostRace, Value
from clew_projections.wait import run_until_first

TTL: Final = 5.0
"""Seconds without a renewal after which the holder is considered dead."""
MARGIN: Final = 1.0
RENEW: Final = 1.0
LOOK: Final = 0.25
"""Seconds between checks of another process's lease."""
KEY: Final = "inbox"

_LOG: Final = logging.getLogger("clew.lease")


class LeaseLost(Unavailable):
    """Another process has the lease, or may have it: this one must stop."""

    default_code = "lease_lost"


class LeaseRecord(msgspec.Struct, frozen=True):
    """The value of the key: the holder, its lease in seconds from each renewal, and where its process runs."""

    holder: str
    ttl: float
    where: str


class Lease:
    """A lease as one process sees it: held, or waited for."""

    def __init__(self, bucket: Bucket, key: str = KEY) -> None:
        """``key`` names the lease in the bucket."""
        self._bucket = bucket
        self._key = key
        self._held = LeaseRecord(token_hex(8), TTL, f"{socket.gethostname()}:{os.getpid()}")
        self._body = msgspec.json.encode(self._held)
        self._revision = 0
        self._number = 0
        self._until = 0.0
        self._slipped = False
        self._seen = (-1, 0.0)

    @property
    def holder(self) -> str:
        """The id of this process as a holder."""
        return self._held.holder

    @property
    def number(self) -> int:
        """The number of this process's term: the revision at which it took the lease, so it rises with every term."""
        return self._number

    @property
    def is_held(self) -> bool:
        """Whether this process has the lease now."""
        return _now() < self._until

    def check(self) -> None:
        """Check that this process has the lease now.

        Raises:
            LeaseLost: it does not, or may not.
        """
        if self._slipped or not self.is_held:
            # The caller has left its work undone after this error, so a late renewal must not revive the lease.
            self._slipped = True
            raise LeaseLost(f"this process no longer has the lease on the {self._key}")

    async def take(self) -> bool:
        """Take the lease if it is free, or if this process has it already; return whether it did.

        Raises:
            Unavailable: the bucket does not answer.
        """
        value = await self._bucket.latest(self._key)
        if value is not None and not self._is_free(value):
            return False
        if not await self._write(value.revision if value is not None else 0):
            return False
        self._number, self._slipped = self._revision, False
        return True

    async def confirm(self) -> None:
        """Check with the bucket's leader that no other process has taken the lease.

        Raises:
            LeaseLost: another has.
            Unavailable: the bucket does not answer.
        """
        self.check()
        await self._look_closer()
        self.check()

    async def keep(self) -> None:
        """Renew the lease until it is lost.

        Raises:
            LeaseLost: it is lost.
        """
        while True:
            await asyncio.sleep(RENEW)
            try:
                if not await self._write(self._revision):
                    await self._look_closer()
            except LeaseLost:
                raise
            except Unavailable as fault:
                _LOG.warning("the lease on the %s was not renewed: %s", self._key, fault)
            self.check()

    async def give_up(self) -> None:
        """Release the lease, so that others need not wait. If that fails, it expires."""
        if self.is_held:
            self._until = 0.0
            try:
                await self._delete()
            except (Unavailable, LostRace) as fault:
                _LOG.info("the lease on the %s was not given back: %s", self._key, fault)

    async def work(self, task: Callable[[], Coroutine[None, None, object]], pause: float) -> None:
        """Run a task that never ends, whenever this process has or can take the lease; until cancelled.

        The task is cancelled when the lease is lost. It begins again ``pause`` seconds after that, or after it failed
        with ``Unavailable`` or ``Corrupt``.
        """
        try:
            while True:
                try:
                    if self.is_held or await self.take():
                        await run_until_first(task(), self.keep())
                except (Unavailable, Corrupt) as fault:
                    _LOG.warning("%s waits for a retry: %s", self._key, fault)
                await asyncio.sleep(pause)
        finally:
            await self.give_up()

    def _is_free(self, value: Value) -> bool:
        if not value.body:
            return True
        held = msgspec.json.decode(value.body, type=LeaseRecord)
        if held.holder == self._held.holder:
            return True
        revision, since = self._seen
        if revision != value.revision:
            self._seen = (value.revision, _now())
            return False
        return _now() - since >= held.ttl

    async def _write(self, revision: int) -> bool:
        sent = _now()
        try:
            self._revision = await self._bucket.put(self._key, self._body, revision)
        except LostRace:
            return False
        self._until = sent + TTL - MARGIN
        return True

    async def _delete(self) -> None:
        try:
            await self._bucket.delete(self._key, self._revision)
        except LostRace:
            await self._look_closer()
            await self._bucket.delete(self._key, self._revision)

    async def _look_closer(self) -> None:
        # A renewal whose acknowledgement was lost or not awaited has changed the revision, too.
        value = await self._bucket.latest(self._key)
        if value is None or not value.body or msgspec.json.decode(value.body, type=LeaseRecord) != self._held:
            self._until = 0.0
            raise LeaseLost(f"another process has taken over the lease on the {self._key}")
        self._revision = value.revision


def _now() -> float:
    # Not the loop's clock: uvloop's does not advance while callbacks run, so a process that was suspended inside a
    # callback would still consider its lease valid.
    return time.monotonic()
