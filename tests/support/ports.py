"""Ports for servers that come back on theirs after they were stopped or killed."""

from __future__ import annotations

import fcntl
import itertools
import os
import random
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

LOWEST, PORTS, BLOCK = 15_000, 17_000, 250
"""Below those that a system gives to whoever asks for any, one of which may have them while a server is down."""
_LOCKS = Path(tempfile.gettempdir()) / f"clew-test-ports-{os.getuid()}"


def _ours() -> Iterator[int]:
    """The ports of a block, in turn. It is this process's until it ends, whichever run of tests others belong to."""
    _LOCKS.mkdir(exist_ok=True)
    for block in random.SystemRandom().sample(range(PORTS // BLOCK), PORTS // BLOCK):
        with (_LOCKS / str(block)).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield from itertools.cycle(range(LOWEST + block * BLOCK, LOWEST + (block + 1) * BLOCK))
    raise RuntimeError(f"other processes have all ports from {LOWEST} to {LOWEST + PORTS}: see {_LOCKS}")


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
