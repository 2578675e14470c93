"""The disk limit of the embedded server, and its usage, read from its monitoring over HTTP.

By default nats-server limits itself to three quarters of the space that is free when it starts, so the limit shrinks
with every start. Clew's account gets a limit that follows the disk instead: a tenth of what JetStream uses and of what
it could use stays free. JetStream counts messages before compression and does not count deleted ones, so its own count
is read from the server. Unlike the server's limit, an account's can be changed while the server runs.
"""

from __future__ import annotations

import http.client
import os
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

UNLIMITED: Final = 2**60
RESERVE: Final = 10
"""The reciprocal of the share that stays free of what JetStream uses and of what it could use."""
LEAST_OF_DISK: Final = 20
"""The reciprocal of the share of the whole disk that stays free, if that is less than :data:`LEAST`."""
LEAST: Final = 64 * 1024 * 1024
_TIMEOUT: Final = 5.0
_STEP: Final = 1024 * 1024
_MOST_OF_THEM: Final = 20


class Room(Struct, frozen=True, kw_only=True):
    """The disk of a store, in bytes: used by the store, free, and in all."""

    taken: int
    free: int
    disk: int

    @property
    def reserve(self) -> int:
        """Bytes that must stay free."""
        return max((self.taken + self.free) // RESERVE, min(LEAST, self.disk // LEAST_OF_DISK))

    @property
    def spare(self) -> int:
        """Bytes that may be written without using the reserve."""
        return max(0, self.free - self.reserve)

    def limit(self, held: int) -> int:
        """The limit for JetStream by its own count, if it holds ``held`` bytes now."""
        return held + self.spare


class Said(Struct, frozen=True):
    """The server's own report: the bytes that it holds by its count, and the failed write, if there was one."""

    held: int
    write_error: str | None = None


class _Healthz(Struct, frozen=True):
    error: str = ""


class _Jsz(Struct, frozen=True):
    storage: int = 0


def room(store: Path) -> Room:
    """Measure the disk of a store.

    Raises:
        OSError: it cannot be read.
    """
    disk = os.statvfs(store)
    # Without free inodes no further blocks of messages can be created.
    free = disk.f_bavail * disk.f_frsize if disk.f_favail or not disk.f_files else 0
    taken = sum(_taken(folder, files) for folder, _, files in os.walk(store))
    return Room(taken=taken, free=free, disk=disk.f_blocks * disk.f_frsize)


def differs(limit: int, wanted: int, held: int) -> bool:
    """Whether a limit differs enough to be changed: by a megabyte and a twentieth of the remaining space."""
    return abs(wanted - limit) > max(_STEP, (wanted - held) // _MOST_OF_THEM)


def asked(host: str, port: int, base: str) -> Said:
    """Read the server's report. Blocks, for some seconds at most.

    Raises:
        OSError, HTTPException, DecodeError: it does not answer, or not correctly.
    """
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT)
    try:
        health = msgspec.json.decode(_get(connection, f"{base}/healthz"), type=_Healthz)
        store = msgspec.json.decode(_get(connection, f"{base}/jsz"), type=_Jsz)
    finally:
        connection.close()
    return Said(store.storage, health.error if "write error" in health.error else None)


def _get(connection: http.client.HTTPConnection, path: str) -> bytes:
    connection.request("GET", path)
    return connection.getresponse().read()


def _taken(folder: str, files: list[str]) -> int:
    total = 0
    for file in files:
        try:
            total += os.stat(os.path.join(folder, file)).st_blocks * 512  # noqa: PTH116, PTH118 - there may be very many
        except OSError:  # deleted meanwhile
            continue
    return total
