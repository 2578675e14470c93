"""The folder of a backup: files are written once, in chunks, and checked against their hashes when they are read."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import IO, Final

from msgspec import Struct

from clew_events.errors import Corrupt, Invalid, Unavailable
from clew_projections.atomic_file import sync, write_atomically
from clew_services.backup import manifest
from clew_services.backup.manifest import Manifest, StreamEntry
from clew_services.backup.stream_snapshot import CHUNK

_PIECE: Final = 1024 * 1024


class Sum(Struct, frozen=True):
    """The number of bytes of a file, and their SHA-256 in hex."""

    bytes: int
    sha256: str


class Folder:
    """The folder of one backup, of which an edition is written. Others are read by their manifest."""

    def __init__(self, path: Path, edition: int = 0) -> None:
        self.path = path
        self.edition = edition

    def make(self) -> None:
        """Create the folder, which must be new or empty; only its user can read its files.

        Raises:
            Invalid: it is not empty, or cannot be created.
        """
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            if any(self.path.iterdir()):
                raise Invalid(
                    f"{self.path} is not empty: choose another folder. If it has no {manifest.NAME}, it is an "
                    "unfinished backup, which can be removed",
                    code="folder_not_empty",
                )
        except OSError as fault:
            raise Invalid(f"{self.path} cannot be written to: {fault.strerror}", code="folder_not_writable") from fault

    async def write(self, stream: str, chunks: AsyncIterator[bytes], tell: Callable[[int], None]) -> Sum:
        """Write the file of a stream; ``tell`` is called with the number of bytes so far.

        Raises:
            Unavailable: the disk is full, or the stream of chunks failed.
        """
        name, digest, size = manifest.file_name(stream, self.edition), hashlib.sha256(), 0
        try:
            with self._create(name) as file:
                async for chunk in chunks:
                    file.write(chunk)
                    digest.update(chunk)
                    size += len(chunk)
                    tell(size)
            sync(self.path / name)
        except OSError as fault:
            raise self._full(fault) from fault
        return Sum(size, digest.hexdigest())

    def finish(self, whole: Manifest) -> None:
        """Write the manifest, when everything else is on disk: the backup is then complete.

        Raises:
            Unavailable: the disk is full.
        """
        try:
            sync(self.path)
            write_atomically(self.path / manifest.NAME, manifest.encode_manifest(whole), durable=True)
        except OSError as fault:
            raise self._full(fault) from fault

    def strays(self, known: Manifest) -> list[Path]:
        """The files of streams that a manifest does not name: of another edition, complete or not."""
        named = {entry.file for entry in known.streams}
        return [file for file in self.path.glob("*.tar.s2") if file.name not in named]

    def check(self, kept: StreamEntry, tell: Callable[[int], None]) -> None:
        """Check a stream's file against its size and hash; ``tell`` is called with the number of bytes so far.

        Raises:
            Corrupt: it is missing, or was changed.
        """
        digest, size = hashlib.sha256(), 0
        try:
            with (self.path / kept.file).open("rb") as file:
                while piece := file.read(_PIECE):
                    digest.update(piece)
                    size += len(piece)
                    tell(size)
        except OSError as fault:
            raise Corrupt(
                f"{self.path / kept.file} cannot be read: {fault.strerror}. Nothing was restored; use another backup",
                code="backup_damaged",
            ) from fault
        if (size, digest.hexdigest()) != (kept.bytes, kept.sha256):
            raise Corrupt(
                f"{self.path / kept.file} was changed: {size} bytes of {kept.bytes}, SHA-256 "
                f"{digest.hexdigest()[:16]}… instead of {kept.sha256[:16]}…. Nothing was restored; use another backup",
                code="backup_damaged",
            )

    async def chunks(self, kept: StreamEntry, tell: Callable[[int], None]) -> AsyncIterator[bytes]:
        """Read a stream's file in chunks; ``tell`` is called with the number of bytes so far.

        Raises:
            Unavailable: it cannot be read.
        """
        size = 0
        try:
            with (self.path / kept.file).open("rb") as file:
                while chunk := file.read(CHUNK):
                    yield chunk
                    size += len(chunk)
                    tell(size)
        except OSError as fault:
            raise Unavailable(f"{self.path / kept.file} cannot be read: {fault.strerror}") from fault

    def _create(self, name: str) -> IO[bytes]:
        return os.fdopen(os.open(self.path / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")

    def _full(self, fault: OSError) -> Unavailable:
        return Unavailable(
            f"{self.path} cannot be written to: {fault.strerror}. Its files are not a backup: remove them, free some "
            "space, and back up again",
            code="backup_not_written",
        )


def overwrite(path: Path) -> None:
    """Overwrite a file, or all files below a folder, with random bytes, and remove it.

    What a file system or a drive keeps of a block that was written anew is out of reach.

    Raises:
        OSError: the disk does not take it.
    """
    for file in [path] if path.is_file() else [each for each in path.rglob("*") if each.is_file()]:
        with file.open("r+b", buffering=0) as opened:
            left = file.stat().st_size
            while left > 0:
                left -= opened.write(os.urandom(min(left, _PIECE)))
            os.fsync(opened.fileno())
        file.unlink()
    if path.is_dir():
        shutil.rmtree(path)
