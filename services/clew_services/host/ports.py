"""A check for free ports, made before anything is started that needs them."""

from __future__ import annotations

import os
import socket
from typing import Final

from clew_services.host import CannotStart

SHARES: Final = "CLEW_SHARES_PORT"
"""The variable that is set for workers, which share one port."""


def shares_port() -> bool:
    """Whether this process is a worker that shares its port with others."""
    return SHARES in os.environ


def refuse_taken(host: str, port: int, *, purpose: str, remedy: str) -> None:
    """Check that ``host:port`` can be listened on; it may still be taken afterwards.

    Raises:
        CannotStart: it cannot; the message names the purpose and the remedy.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)  # bind alone succeeds where another socket with SO_REUSEADDR is bound
    except OSError as fault:
        reason = os.strerror(fault.errno) if fault.errno and fault.errno > 0 else str(fault)
        raise CannotStart(
            f"cannot listen on {host}:{port} for {purpose}: {reason}. {remedy}", code="port_taken"
        ) from fault
