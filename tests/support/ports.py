"""Ports for servers that come back on theirs after they were stopped or killed."""

from __future__ import annotations

import itertools
import os
import random
import socket
from collections.abc import Iterator

LOWEST, PORTS, WORKERS = 15_000, 17_000, 32
"""Below those that a system gives to whoever asks for any, one of which may have them while a server is down."""


def _ours() -> Iterator[int]:
    """The ports of this one of the test processes that share the machine, in turn, from one of them on."""
    worker = int("0" + os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")) % WORKERS
    each = PORTS // WORKERS
    begin = random.SystemRandom().randrange(each)
    return (LOWEST + worker * each + (begin + step) % each for step in itertools.count())


_PORTS = _ours()


def free_port() -> int:
    """A port of 127.0.0.1 that nobody has, and that nobody else here is given soon."""
    while True:
        port = next(_PORTS)
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
                probe.listen(1)
            except OSError:
                continue
        return port
