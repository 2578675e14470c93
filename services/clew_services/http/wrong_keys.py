"""The limit on guessing API keys: who sent several wrong ones is answered late."""

from __future__ import annotations

import asyncio
from typing import Final

from clew_projections.lru_cache import LRUCache
from clew_services.http.caller_limits import network_of

FREE: Final = 10
"""Wrong keys of one address that are answered at once."""
PAUSE: Final = 1.0
"""Seconds after which each further wrong key is answered."""
ADDRESSES: Final = 10_000
"""Addresses whose wrong keys are counted; the least recent gives way."""


class WrongKeys:
    """Counts wrong keys by the address of their connection, as this process saw them, an IPv6 network being one.

    Right keys are neither counted nor delayed, whatever their address sent before.
    """

    def __init__(self) -> None:
        self._counts = LRUCache[str, int](ADDRESSES)

    async def count(self, host: str) -> None:
        """Count a wrong key from ``host``, and wait before it may be answered."""
        network = network_of(host)
        wrong = self._counts.get(network) or 0
        self._counts.put(network, wrong + 1)
        if wrong >= FREE:
            await asyncio.sleep(PAUSE)
