"""How many connections a process keeps: so many of one address, and no more in all than leave it room to work."""

from __future__ import annotations

import ipaddress
import logging
import sys
import time
from typing import Final

from clew_services.http import error_responses
from clew_services.http.responses import Answer
from clew_services.http.stream_limit import StreamLimit, StreamPlace

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
