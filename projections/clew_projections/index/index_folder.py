"""The folder of a machine's index: one file a generation, and a pointer at the one that is asked.

::

    <folder>/<deployment>/current        which generation is asked, and how far it has to get first
    <folder>/<deployment>/000001.db      a generation: a SQLite database, with what SQLite keeps beside it
    <folder>/<deployment>/proved         how far the proof of it is, and what it found
    <folder>/<deployment>/feeder         locked by the process that feeds the index
    <folder>/<deployment>/dedicated      locked, shared, by processes whose business is to feed it
    <folder>/<deployment>/rebuild        locked by a rebuild

A deployment has a name of its own there, so two of them never mix. The pointer is replaced in one step, and whoever
asks looks at it first, so everybody follows it. Everything here may be deleted at any time: it is made again.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from clew_events.codec import UNREADABLE
from clew_projections.atomic_file import write_atomically

_FILE: Final = re.compile(r"(\d{6})\.db")
_BESIDE: Final = ("", "-wal", "-shm", "-journal", ".part")


class Pointer(Struct, frozen=True):
    """Which generation is asked. As long as there is a ``goal``, it is being built: shard to sequence to be reached."""

    generation: int
    goal: dict[str, int] = {}

    @property
    def ready(self) -> bool:
        """Whether it can be asked."""
        return not self.goal


_POINTER: Final = msgspec.json.Decoder(Pointer)


class IndexFolder:
    """The index of one deployment on one machine."""

    def __init__(self, root: Path, deployment: str) -> None:
        """``deployment`` is the identity of what the index follows from."""
        self.path = root / deployment
        self._pointer = self.path / "current"

    def make(self) -> None:
        """Create the folder if it is not there.

        Raises:
            OSError: it cannot be.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def file(self, generation: int) -> Path:
        """The database of a generation."""
        return self.path / f"{generation:06}.db"

    def lock(self, name: str) -> Lock:
        """One of the folder's locks."""
        return Lock(self.path / name)

    def pointer(self) -> Pointer | None:
        """Which generation is asked; none if nobody has made one, or the pointer cannot be read."""
        try:
            return _POINTER.decode(self._pointer.read_bytes())
        except (OSError, *UNREADABLE):
            return None

    def point(self, generation: int, goal: Mapping[int, int] | None = None) -> None:
        """Have a generation asked from now on, or as soon as ``goal`` is gone.

        Raises:
            OSError: the pointer cannot be written; the old one stands.
        """
        named = {str(shard): seq for shard, seq in (goal or {}).items()}
        write_atomically(self._pointer, msgspec.json.encode(Pointer(generation, named)), durable=False)

    def generations(self) -> list[int]:
        """All generations there are, oldest first."""
        if not self.path.is_dir():
            return []
        found = (_FILE.fullmatch(each.name) for each in self.path.iterdir())
        return sorted(int(each[1]) for each in found if each)

    def next_generation(self) -> int:
        """The number of a generation that was never there."""
        pointer = self.pointer()
        return max([pointer.generation if pointer else 0, *self.generations()]) + 1

    def size(self, generation: int) -> int:
        """Bytes on disk of a generation."""
        return sum(each.stat().st_size for each in self._files(generation) if each.exists())

    def remove(self, generation: int) -> None:
        """Delete a generation. Who has it open keeps what it has until it closes it."""
        for each in self._files(generation):
            with contextlib.suppress(FileNotFoundError):
                each.unlink()

    def suspect(self, generation: int) -> None:
        """Note that a generation was found damaged by somebody who asked it; its feeder looks into it."""
        with contextlib.suppress(OSError):
            self._suspicion(generation).touch()

    def take_suspicion(self, generation: int) -> bool:
        """Whether somebody has found a generation damaged since this was last asked."""
        try:
            self._suspicion(generation).unlink()
        except FileNotFoundError:
            return False
        return True

    def _suspicion(self, generation: int) -> Path:
        return self.path / f"{generation:06}.suspect"

    def _files(self, generation: int) -> list[Path]:
        file = self.file(generation)
        return [file.with_name(file.name + beside) for beside in _BESIDE]


class Lock:
    """A lock that processes share, on a file that is made when it is first taken. Not for threads of one process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held: int | None = None

    @property
    def held(self) -> bool:
        """Whether it was taken here and not given back; a lock whose file was deleted since keeps nobody out."""
        if self._held is not None and not self._same_file(self._held):
            self.give_back()
        return self._held is not None

    def take(self, *, shared: bool = False) -> bool:
        """Take it if nobody else has it, or others have it ``shared`` as well; whether that was so.

        Raises:
            OSError: the file cannot be made.
        """
        if self.held:
            return True
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except BaseException:
            os.close(descriptor)
            raise
        if not self._same_file(descriptor):
            os.close(descriptor)
            return False
        self._held = descriptor
        return True

    def give_back(self) -> None:
        """Let others have it."""
        descriptor, self._held = self._held, None
        if descriptor is not None:
            os.close(descriptor)

    def _same_file(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        except FileNotFoundError:
            return False
