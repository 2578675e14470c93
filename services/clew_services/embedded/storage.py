"""The storage limit of the embedded server, and the server's state as its monitoring reports it over HTTP.

By default nats-server may use three quarters of the space that is free when it starts, so less with every start. Clew's
account gets a limit that follows the disk: a tenth of the space that JetStream uses and could use is left free.
JetStream counts messages before compression and does not count deleted ones, so its own count is used. The limit of an
account can be changed while the server runs; that of the server cannot.
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
"""The part that is left free of the space that JetStream uses and could use: one in this number."""
LEAST_OF_DISK: Final = 20
"""The part of the whole disk that is left free if it is less than :data:`LEAST`: one in this number."""
LEAST: Final = 64 * 1024 * 1024
_TIMEOUT: Final = 5.0
NEAR: Final = 256 * 1024 * 1024
"""Bytes that may well be written between two looks at the disk."""
_STEP: Final = 1024 * 1024
_MOST_OF_THEM: Final = 20


class Room(Struct, frozen=True, kw_only=True):
    """Where a store is: bytes that it takes on the disk, bytes that are free there, and bytes of the whole disk."""

    taken: int
    free: int
    disk: int

    @property
    def reserve(self) -> int:
        """Bytes that are to be left free."""
        return max((self.taken + self.free) // RESERVE, min(LEAST, self.disk // LEAST_OF_DISK))

    @property
    def spare(self) -> int:
        """Bytes that may be written before the reserve is touched."""
        return max(0, self.free - self.reserve)

    def limit(self, held: int) -> int:
        """The limit in bytes, by JetStream's own count, if it holds ``held`` now."""
        return held + self.spare

    def needs_change(self, limit: int, held: int) -> bool:
        """Whether a limit that JetStream has should become another one now, as it holds so many bytes.

        Only where it holds nearly as much as the old or the new limit, and the two differ by a megabyte and a twentieth
        of what may still come: while the server reads a new limit, calls of JetStream's API meet no responders.
        """
        wanted = self.limit(held)
        near = held + NEAR > min(limit, wanted)
        return near and abs(wanted - limit) > max(_STEP, self.spare // _MOST_OF_THEM)


class ServerReport(Struct, frozen=True):
    """What the server says: bytes that it holds by its own count, and which write failed, if one did."""

    held: int
    write_error: str | None = None


class _Healthz(Struct, frozen=True):
    error: str = ""


class _Jsz(Struct, frozen=True):
    storage: int = 0


def room(store: Path) -> Room:
    """Look at the disk.

    Raises:
        OSError: it cannot be looked at.
    """
    disk = os.statvfs(store)
    # A disk that takes no more files takes no more blocks of messages either.
    free = disk.f_bavail * disk.f_frsize if disk.f_favail or not disk.f_files else 0
    taken = sum(_taken(folder, files) for folder, _, files in os.walk(store))
    return Room(taken=taken, free=free, disk=disk.f_blocks * disk.f_frsize)


def ask_server(host: str, port: int, base: str) -> ServerReport:
    """Ask the server. Blocks, for some seconds at most.

    Raises:
        OSError, HTTPException, DecodeError: it does not answer, or not as it should.
    """
    connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT)
    try:
        health = msgspec.json.decode(_get(connection, f"{base}/healthz"), type=_Healthz)
        store = msgspec.json.decode(_get(connection, f"{base}/jsz"), type=_Jsz)
    finally:
        connection.close()
    return ServerReport(store.storage, health.error if "write error" in health.error else None)


def _get(connection: http.client.HTTPConnection, path: str) -> bytes:
    connection.request("GET", path)
    return connection.getresponse().read()


def _taken(folder: str, files: list[str]) -> int:
    found = 0
    for file in files:
        try:
            found += os.stat(os.path.join(folder, file)).st_blocks * 512  # noqa: PTH116, PTH118 - there may be very many
        except OSError:  # deleted meanwhile
            continue
    return found
