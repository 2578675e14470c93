"""The folder of a machine's index: a file for each generation, and a pointer to the live one.

::

    <folder>/<deployment>/current        the live generation, and the positions that it must reach first
    <folder>/<deployment>/000001.db      a generation: a SQLite database, with SQLite's own files beside it
    <folder>/<deployment>/proved         the state of the consistency proof
    <folder>/<deployment>/feeder         locked by the indexer
    <folder>/<deployment>/dedicated      locked, shared, by dedicated processes
    <folder>/<deployment>/rebuild        locked by a rebuild, and while files are replaced or removed after an erasure
    <folder>/<deployment>/rebuild.db     an unfinished rebuild
    <folder>/<deployment>/clean.db       a clean copy that does not have all yet, after an erasure
    <folder>/<deployment>/000001.reading locked, shared, by processes that read a generation
    <folder>/<deployment>/machine        the id by which this folder is known to the deployment

Each deployment has its own folder. The pointer is replaced atomically, and every query reads it first. Everything here
may be deleted at any time: it is rebuilt.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
from collections.abc import Mapping
from pathlib import Path
from secrets import token_hex
from typing import Final

import msgspec
from msgspec import Struct

from clew_events.codec import UNREADABLE
from clew_projections.atomic_file import write_atomically

_FILE: Final = re.compile(r"(\d{6})\.db")
_READING: Final = re.compile(r"(\d{6})\.reading")
_BESIDE: Final = ("", "-wal", "-shm", "-journal", ".part")


class Pointer(Struct, frozen=True):
    """The live generation. With a ``goal`` it is being built: by shard, the sequence to reach."""

    generation: int
    goal: dict[str, int] = {}

    @property
    def ready(self) -> bool:
        """Whether it can be queried."""
        return not self.goal


_POINTER: Final = msgspec.json.Decoder(Pointer)


class IndexFolder:
    """The index of one deployment on one machine."""

    def __init__(self, root: Path, deployment: str) -> None:
        """``deployment`` is the id of the deployment."""
        self.path = root / deployment
        self._pointer = self.path / "current"

    def make(self) -> None:
        """Create the folder if it does not exist.

        Raises:
            OSError: it cannot be created.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)

    def file(self, generation: int) -> Path:
        """Return the path of a generation's database."""
        return self.path / f"{generation:06}.db"

    @property
    def rebuild_file(self) -> Path:
        """The path of the database of an unfinished rebuild."""
        return self.path / "rebuild.db"

    @property
    def copy_file(self) -> Path:
        """The path of the database of a clean copy that is not live yet."""
        return self.path / "clean.db"

    def machine(self) -> str:
        """Return the id of this folder, which is made at random the first time.

        Raises:
            OSError: it cannot be read or written.
        """
        file = self.path / "machine"
        with contextlib.suppress(FileNotFoundError):
            if (known := file.read_text()).isalnum():
                return known
        made = token_hex(8)
        write_atomically(file, made.encode(), durable=True)
        return made

    def lock(self, name: str) -> Lock:
        """Return one of the folder's locks."""
        return Lock(self.path / name)

    def pointer(self) -> Pointer | None:
        """Read the pointer; ``None`` if there is none, or it is unreadable."""
        try:
            return _POINTER.decode(self._pointer.read_bytes())
        except (OSError, *UNREADABLE):
            return None

    def is_live(self, generation: int) -> bool:
        """Whether no other generation is live."""
        pointer = self.pointer()
        return pointer is None or pointer.generation == generation

    def point(self, generation: int, goal: Mapping[int, int] | None = None) -> None:
        """Make a generation live; with a ``goal`` it is not ready until pointed to without one.

        Raises:
            OSError: the pointer cannot be written; the old one stays.
        """
        named = {str(shard): seq for shard, seq in (goal or {}).items()}
        write_atomically(self._pointer, msgspec.json.encode(Pointer(generation, named)), durable=False)

    def generations(self) -> list[int]:
        """Return the numbers of all generations, oldest first."""
        if not self.path.is_dir():
            return []
        found = (_FILE.fullmatch(each.name) for each in self.path.iterdir())
        return sorted(int(each[1]) for each in found if each)

    def next_generation(self) -> int:
        """Return an unused number for a new generation."""
        pointer = self.pointer()
        return max([pointer.generation if pointer else 0, *self.generations()]) + 1

    def size(self, generation: int) -> int:
        """Return the size of a generation on disk, in bytes."""
        return sum(each.stat().st_size for each in _files(self.file(generation)) if each.exists())

    def remove(self, generation: int) -> None:
        """Delete a generation. Processes that have it open can read it until they close it."""
        remove_database(self.file(generation))

    def reading(self, generation: int) -> Lock:
        """Return the lock that a process holds, shared, from before it opens a generation for reading until after."""
        return Lock(self.path / f"{generation:06}.reading")

    def is_deleted_read(self) -> bool:
        """Whether a process has a deleted generation open, whose bytes the disk keeps until it closes the file.

        Raises:
            OSError: the folder cannot be read or written.
        """
        found = (_READING.fullmatch(each.name) for each in self.path.iterdir())
        return any(self._is_open(int(each[1])) for each in found if each)

    def _is_open(self, generation: int) -> bool:
        if self.file(generation).exists():
            return False
        lock = self.reading(generation)
        if not lock.take():
            return True
        (self.path / f"{generation:06}.reading").unlink(missing_ok=True)
        lock.give_back()
        return False

    def suspect(self, generation: int) -> None:
        """Record that a query found a generation damaged, for the indexer to check."""
        with contextlib.suppress(OSError):
            self._suspicion(generation).touch()

    def take_suspicion(self, generation: int) -> bool:
        """Return and clear whether a query found a generation damaged."""
        try:
            self._suspicion(generation).unlink()
        except FileNotFoundError:
            return False
        return True

    def _suspicion(self, generation: int) -> Path:
        return self.path / f"{generation:06}.suspect"


def remove_database(file: Path) -> None:
    """Delete a database with SQLite's own files beside it; those that do not exist are left out."""
    for each in _files(file):
        each.unlink(missing_ok=True)


def _files(file: Path) -> list[Path]:
    return [file.with_name(file.name + beside) for beside in _BESIDE]


class Lock:
    """A lock between processes, on a file that is created when it is first taken. Not for threads of one process."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._held: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock; a lock whose file was deleted is no longer held."""
        if self._held is not None and not self._same_file(self._held):
            self.give_back()
        return self._held is not None

    def take(self, *, shared: bool = False) -> bool:
        """Try to take the lock, exclusively or ``shared``; return whether it is held.

        Raises:
            OSError: the file cannot be created.
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
        """Release the lock."""
        descriptor, self._held = self._held, None
        if descriptor is not None:
            os.close(descriptor)

    def _same_file(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        except FileNotFoundError:
            return False
