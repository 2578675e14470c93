"""A lease: the right to serve the inbox, or to sign checkpoints, which one process has at a time.

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
from secrets import token_hex
from typing import Final

import msgspec

from clew_events.errors import Unavailable
from clew_projections.kv.bucket import Bucket, LostRace, Value

TTL: Final = 5.0
"""Seconds after which a process that shows no sign of life is taken to be gone."""
MARGIN: Final = 1.0
RENEW: Final = 1.0
LOOK: Final = 0.25
"""Seconds between looks at the lease of another."""
KEY: Final = "inbox"

_LOG: Final = logging.getLogger("clew.lease")


class LeaseLost(Unavailable):
    """The lease is somebody else's by now, or may be: nothing more may be done in its name."""

    default_code = "lease_lost"


class LeaseRecord(msgspec.Struct, frozen=True):
    """What the key says: who has the lease, for how many seconds from each renewal, and where that process runs."""

    holder: str
    ttl: float
    where: str


class Lease:
    """One process's hold, or its wait for one."""

    def __init__(self, bucket: Bucket, key: str = KEY) -> None:
        """``key`` says what for: there is one lease for each."""
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
        """What tells this process's hold from those of others."""
        return self._held.holder

    @property
    def number(self) -> int:
        """A number that is higher each time that anybody takes the lease: the revision at which this process did."""
        return self._number

    @property
    def is_held(self) -> bool:
        """Whether it is ours at this moment."""
        return _now() < self._until

    def check(self) -> None:
        """Nothing, if the lease is ours at this moment.

        Raises:
            Lost: it is not, or may not be.
        """
        if self._slipped or not self.is_held:
            # Whoever was told so has left something undone, and a renewal that comes late does not bring that back.
            self._slipped = True
            raise LeaseLost(f"the lease on the {self._key} is another process's now")

    async def take(self) -> bool:
        """Look once whether the lease can be had, and take it if so; anew, if it is this process's already.

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
        """Ask the bucket's leader whether the lease is still this process's: until then, nobody else has taken it.

        Raises:
            Lost: it is not.
            Unavailable: the bucket does not answer.
        """
        self.check()
        await self._look_closer()
        self.check()

    async def keep(self) -> None:
        """Renew the lease until it is lost.

        Raises:
            Lost: it is.
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
        """Let others have it at once. If that cannot be told to them, they find out when its time is over."""
        if self.is_held:
            self._until = 0.0
            try:
                await self._delete()
            except (Unavailable, LostRace) as fault:
                _LOG.info("the lease on the %s was not given back: %s", self._key, fault)

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
        # A renewal whose acknowledgement was lost, or not waited for, has moved the key, too.
        value = await self._bucket.latest(self._key)
        if value is None or not value.body or msgspec.json.decode(value.body, type=LeaseRecord) != self._held:
            self._until = 0.0
            raise LeaseLost(f"another process has taken the {self._key} over")
        self._revision = value.revision


def _now() -> float:
    # Not the loop's clock: uvloop's stands still while callbacks run, and so would the lease of a process that is
    # frozen in the middle of them, for all that it still does before it looks at the clock again.
    return time.monotonic()
