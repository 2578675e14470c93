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
"""The longest ``Retry-After``, in seconds: clients give up on a longer one."""


class RateLimit:
    """A leaky bucket for each key: it holds ``burst`` requests and leaks ``rate`` a second. A rate of 0 is no limit.

    All that is kept of a bucket is when it will be empty. This process counts what reaches this process.
    """

    def __init__(self, rate: int, burst: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self._each = 1 / rate if rate else 0.0
        self._room = (burst or rate) * self._each
        self._clock = clock
        self._empty: dict[tuple[str, str], float] = {}

    def wait(self, holder: Holder) -> int | None:
        """Count a request; if it exceeds the limit, return the whole seconds until it would not."""
        if not self._each:
            return None
        key, now = (holder.tenant, holder.actor), self._clock()
        empty = max(self._empty.get(key, now), now) + self._each
        # Sums of fractions of a second are inexact: a rounding error does not make a bucket full.
        over = empty - now - self._room
        if over > self._each / 1000:
            return min(max(math.ceil(over), 1), LONGEST_WAIT)
        self._empty[key] = empty
        return None


class StreamLimit:
    """Counts the open streams or connections, in all and of each owner."""

    def __init__(self) -> None:
        self.taken = 0
        self._of: dict[str, int] = {}

    def take(self, owner: str, *, most: int, most_of_one: int) -> StreamPlace | None:
        """Take a place for ``owner``, which must be left later; ``None`` if a limit is reached."""
        mine = self._of.get(owner, 0)
        if self.taken >= most or mine >= most_of_one:
            return None
        self._of[owner] = mine + 1
        self.taken += 1
        return StreamPlace(self, owner)

    def give_back(self, owner: str) -> None:
        """Free a place of ``owner``."""
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
        """Free the place. Safe to repeat."""
        seats, self._seats = self._seats, None
        if seats is not None:
            seats.give_back(self._owner)


class LimitedStream(AsyncIterator[bytes]):
    """A stream of chunks that leaves its place when it ends or is closed, even if it never began."""

    def __init__(self, chunks: AsyncGenerator[bytes], seat: StreamPlace) -> None:
        self._chunks = chunks
        self._seat = seat

    async def __anext__(self) -> bytes:
        """Return the next chunk."""
        try:
            return await anext(self._chunks)
        except BaseException:
            self._seat.leave()
            raise

    async def aclose(self) -> None:
        """Close the stream, and leave its place."""
        try:
            await self._chunks.aclose()
        finally:
            self._seat.leave()


QUIET: Final = 60.0
"""Seconds between two log lines about refused connections."""
_PREFIX: Final = 64
"""Bits of an IPv6 address that count: a host can use any address of its network."""
_LOG: Final = logging.getLogger("clew.http")


class ConnectionLimit:
    """Accepts at most ``most`` connections, and at most ``most_of_one`` of one address.

    0 is no limit.
    """

    def __init__(self, most: int, most_of_one: int) -> None:
        self._most = most or sys.maxsize
        self._most_of_one = most_of_one or sys.maxsize
        self._seats = StreamLimit()
        self._said = float("-inf")

    def take(self, host: str) -> StreamPlace | Answer:
        """Take a place for a connection from ``host``; return the error response if a limit is reached."""
        seat = self._seats.take(network_of(host), most=self._most, most_of_one=self._most_of_one)
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


def network_of(host: str) -> str:
    """The address that is counted: an IPv4 address, or the network of an IPv6 address."""
    if ":" not in host:
        return host
    address = ipaddress.IPv6Address(host.partition("%")[0])
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(address), _PREFIX), strict=False))
