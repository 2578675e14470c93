"""Whether a port can be had, asked before anything is started that would need it."""

from __future__ import annotations

import os
import socket

from clew_services.embedded.binary import CannotStart


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
