"""A probe of the HTTP API's readiness."""

from __future__ import annotations

import asyncio
import http.client
import ipaddress
from typing import Final

from clew_services.host import CannotStart
from clew_services.settings import Address

PATIENCE: Final = 60.0
_TIMEOUT: Final = 5.0
_PAUSE: Final = 0.02


async def until_ready(address: Address) -> None:
    """Wait until ``/readyz`` answers 200.

    Raises:
        CannotStart: it does not within :data:`PATIENCE` seconds; the message has the last answer.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + PATIENCE
    while True:
        verdict = await asyncio.to_thread(_ask, reachable(address))
        if verdict is None:
            return
        if loop.time() > deadline:
            raise CannotStart(f"the HTTP API is not ready: {verdict}")
        await asyncio.sleep(_PAUSE)


def reachable(address: Address) -> Address:
    """The address for clients on this machine: a wildcard becomes loopback."""
    try:
        ip = ipaddress.ip_address(address.host)
    except ValueError:
        return address
    if not ip.is_unspecified:
        return address
    return Address("127.0.0.1" if ip.version == 4 else "::1", address.port)


def _ask(address: Address) -> str | None:
    connection = http.client.HTTPConnection(address.host, address.port, timeout=_TIMEOUT)
    try:
        connection.request("GET", "/readyz")
        response = connection.getresponse()
        body = response.read(1000)
        return None if response.status == 200 else f"{response.status} {body.decode(errors='replace')}"
    except (OSError, http.client.HTTPException) as fault:
        return str(fault)
    finally:
        connection.close()
