"""FastStream's broker on a connection that Clew has made."""

from __future__ import annotations

import logging
from typing import Final

from faststream.nats import NatsBroker
from nats.aio.client import Client

_LOG: Final = logging.getLogger("clew.nats")


class Broker(NatsBroker):
    """A broker that uses the given connection, and drains it when it stops."""

    def __init__(self, nc: Client) -> None:
        # FastStream's own messages are for debugging; it logs failures as errors in any case.
        super().__init__(apply_types=False, logger=_LOG, log_level=logging.DEBUG)
        self._nc = nc

    async def _connect(self) -> Client:
        self.config.connect(self._nc)
        return self._nc
