"""Locks of the kernel's on files: a process that dies, however it dies, leaves none behind."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


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
