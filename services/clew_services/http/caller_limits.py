"""Limits of a caller: requests per second of a key, connections of an address, and event streams of a tenant.

Each process counts what reaches it.
"""

from __future__ import annotations

import ipaddress
import logging
import math
import sys
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Final

from clew_services.api_keys import Holder
from clew_services.http import error_responses
from clew_services.http.responses import Answer

LONGEST_WAIT: Final = 60
"""Seconds that a caller is asked to wait at most: clients give up on being told more."""


class RateLimit:
    """A bucket for each key that takes ``burst`` requests and empties at ``rate`` a second. A rate of 0 is no limit.

    All that is kept of a bucket is when it will be empty. This process counts what reaches this process.
    """

    def __init__(self, rate: int, burst: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self._each = 1 / rate if rate else 0.0
        self._room = (burst or rate) * self._each
        self._clock = clock
        self._empty: dict[tuple[str, str], float] = {}

    def wait(self, holder: Holder) -> int | None:
        """Count one request, or say after how many whole seconds there will be room for it."""
        if not self._each:
            return None
        key, now = (holder.tenant, holder.actor), self._clock()
        empty = max(self._empty.get(key, now), now) + self._each
        # Adding up fractions of a second is not exact; a bucket is not full for the error that makes.
        over = empty - now - self._room
        if over > self._each / 1000:
            return min(max(math.ceil(over), 1), LONGEST_WAIT)
        self._empty[key] = empty
        return None


class StreamLimit:
    """Counts who is there. A place is taken as soon as it is asked for, so that two cannot have the last one."""

    def __init__(self) -> None:
        self.taken = 0
        self._of: dict[str, int] = {}

    def take(self, owner: str, *, most: int, most_of_one: int) -> StreamPlace | None:
        """A place for ``owner``, to be left later; nothing where there is none."""
        mine = self._of.get(owner, 0)
        if self.taken >= most or mine >= most_of_one:
            return None
        self._of[owner] = mine + 1
        self.taken += 1
        return StreamPlace(self, owner)

    def give_back(self, owner: str) -> None:
        """Have room for one more of ``owner``."""
        self.taken -= 1
        self._of[owner] -= 1
        if not self._of[owner]:
            del self._of[owner]


class StreamPlace:
    """One place, until it is left."""

    __slots__ = ("_owner", "_seats")

    def __init__(self, seats: StreamLimit, owner: str) -> None:
        self._seats: StreamLimit | None = seats
        self._owner = owner

    def leave(self) -> None:
        """Give the place to somebody else. Leaving again changes nothing."""
        seats, self._seats = self._seats, None
        if seats is not None:
            seats.give_back(self._owner)


class LimitedStream(AsyncIterator[bytes]):
    """What a reader is given, whose place is left when that ends or is closed, even before it began."""

    def __init__(self, chunks: AsyncGenerator[bytes], seat: StreamPlace) -> None:
        self._chunks = chunks
        self._seat = seat

    async def __anext__(self) -> bytes:
        """The next piece."""
        try:
            return await anext(self._chunks)
        except BaseException:
            self._seat.leave()
            raise

    async def aclose(self) -> None:
        """End it."""
        try:
            await self._chunks.aclose()
        finally:
            self._seat.leave()


QUIET: Final = 60.0
"""Seconds in which the log says once that connections were refused."""
_PREFIX: Final = 64
"""Bits of an IPv6 address that tell one network from another: within it, a host has as many addresses as it likes."""
_LOG: Final = logging.getLogger("clew.http")


class ConnectionLimit:
    """Lets connections in while there are fewer than ``most``, and than ``most_of_one`` of their address.

    0 is no limit.
    """

    def __init__(self, most: int, most_of_one: int) -> None:
        self._most = most or sys.maxsize
        self._most_of_one = most_of_one or sys.maxsize
        self._seats = StreamLimit()
        self._said = float("-inf")

    def take(self, host: str) -> StreamPlace | Answer:
        """A place for a connection from ``host``, or what it is told where there is none."""
        seat = self._seats.take(_network(host), most=self._most, most_of_one=self._most_of_one)
        if seat is not None:
            return seat
        if self._seats.taken >= self._most:
            self._say(
                "connections are refused: %d are open, and the descriptors of this process allow no more", self._most
            )
            return error_responses.too_many_connections(503, "Too many connections are open. Please try again in 1s.")
        self._say(
            "connections from %s are refused: it has %d; if it is a proxy, --max-connections-per-address 0 lets it in",
            host,
            self._most_of_one,
        )
        return error_responses.too_many_connections(
            429, f"Too many connections from your address: at most {self._most_of_one}. Please try again in 1s."
        )

    def _say(self, message: str, *arguments: object) -> None:
        if time.monotonic() - self._said >= QUIET:
            self._said = time.monotonic()
            _LOG.warning(message, *arguments)


def _network(host: str) -> str:
    """What counts as one address: an IPv4 address, or the network of an IPv6 address."""
    if ":" not in host:
        return host
    address = ipaddress.IPv6Address(host.partition("%")[0])
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address), _PREFIX), strict=False))
