"""The folder of a backup: written once, in chunks, and read back with every file checked against its hash."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import IO, Final

from msgspec import Struct

from clew_events.errors import Corrupt, Invalid, Unavailable
from clew_services.backup import manifest
from clew_services.backup.manifest import Manifest, StreamEntry
from clew_services.backup.stream_snapshot import CHUNK

_PIECE: Final = 1024 * 1024


class Sum(Struct, frozen=True):
    """The size of a file in bytes, and its SHA-256 in hex."""

    bytes: int
    sha256: str


class Folder:
    """The folder of one backup."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def make(self) -> None:
        """Create the folder, which must be new or empty, readable only by its user.

        Raises:
            Invalid: it is not empty, or cannot be created.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if any(self.path.iterdir()):
                raise Invalid(
                    f"{self.path} is not empty: choose another folder; without {manifest.NAME} what is there is an "
                    "interrupted backup, which cannot be used",
                    code="folder_not_empty",
                )
        except OSError as fault:
            raise Invalid(f"{self.path} cannot be written to: {fault.strerror}", code="folder_not_writable") from fault

    async def write(self, stream: str, chunks: AsyncIterator[bytes], report: Callable[[int], None]) -> Sum:
        """Write a stream's file and sync it; ``report`` is called with the number of bytes written so far.

        Raises:
            Unavailable: the disk is full, or the chunks break off.
        """
        digest, size = hashlib.sha256(), 0
        try:
            with self._create(f"{stream}.tar.s2") as file:
                async for chunk in chunks:
                    file.write(chunk)
                    digest.update(chunk)
                    size += len(chunk)
                    report(size)
                _sync(file)
        except OSError as fault:
            raise self._full(fault) from fault
        return Sum(size, digest.hexdigest())

    def finish(self, complete: Manifest) -> None:
        """Write the manifest, after everything else is synced: from now on this is a backup.

        Raises:
            Unavailable: the disk is full.
        """
        draft = self.path / f"{manifest.NAME}.part"
        try:
            with self._create(draft.name) as file:
                file.write(manifest.encode_manifest(complete))
                _sync(file)
            self._sync()
            draft.rename(self.path / manifest.NAME)
            self._sync()
        except OSError as fault:
            raise self._full(fault) from fault

    def check(self, entry: StreamEntry, report: Callable[[int], None]) -> None:
        """Check a stream's file against its size and hash; ``report`` is called with the bytes read so far.

        Raises:
            Corrupt: it is missing or was altered.
        """
        digest, size = hashlib.sha256(), 0
        try:
            with (self.path / entry.file).open("rb") as file:
                while piece := file.read(_PIECE):
                    digest.update(piece)
                    size += len(piece)
                    report(size)
        except OSError as fault:
            raise Corrupt(
                f"{self.path / entry.file} cannot be read: {fault.strerror}. Nothing was restored; use another backup",
                code="backup_damaged",
            ) from fault
        if (size, digest.hexdigest()) != (entry.bytes, entry.sha256):
            raise Corrupt(
                f"{self.path / entry.file} is not what was written: {size} bytes of {entry.bytes}, SHA-256 "
                f"{digest.hexdigest()[:16]}… instead of {entry.sha256[:16]}…. Nothing was restored; use another backup",
                code="backup_damaged",
            )

    async def chunks(self, entry: StreamEntry, report: Callable[[int], None]) -> AsyncIterator[bytes]:
        """A stream's file in chunks; ``report`` is called with the bytes consumed so far.

        Raises:
            Unavailable: it cannot be read now.
        """
        size = 0
        try:
            with (self.path / entry.file).open("rb") as file:
                while chunk := file.read(CHUNK):
                    yield chunk
                    size += len(chunk)
                    report(size)
        except OSError as fault:
            raise Unavailable(f"{self.path / entry.file} cannot be read: {fault.strerror}") from fault

    def _create(self, name: str) -> IO[bytes]:
        return os.fdopen(os.open(self.path / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")

    def _sync(self) -> None:
        handle = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)

    def _full(self, fault: OSError) -> Unavailable:
        return Unavailable(
            f"{self.path} cannot be written to: {fault.strerror}. It holds no complete backup: remove it, free "
            "space, and back up again",
            code="backup_not_written",
        )


def _sync(file: IO[bytes]) -> None:
    file.flush()
    os.fsync(file.fileno())
