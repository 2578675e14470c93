"""Whether a port can be had, asked before anything is started that would need it."""

from __future__ import annotations

import os
import socket
from typing import Final

from clew_services.host import CannotStart

SHARES: Final = "CLEW_SHARES_PORT"
"""Set for a process that has others of its kind beside it, which listen on the same port."""


def shares_port() -> bool:
    """Whether another process that listens where this one will is a worker like it, and not in its way."""
    return SHARES in os.environ


def refuse_taken(host: str, port: int, *, purpose: str, remedy: str) -> None:
    """Pass if ``host:port`` can be listened on; it may still be taken a moment later.

    Raises:
        CannotStart: it cannot; the message says what it was wanted for and the remedy.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
            probe.listen(1)  # a bind alone passes where another socket with SO_REUSEADDR is bound
    except OSError as fault:
        reason = os.strerror(fault.errno) if fault.errno and fault.errno > 0 else str(fault)
        raise CannotStart(
            f"cannot listen on {host}:{port} for {purpose}: {reason}. {remedy}", code="port_taken"
        ) from fault
