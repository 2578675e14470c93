"""The data folder of ``clew up``, which one process at a time can use."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
from pathlib import Path
from typing import Final

from clew_services.host import CannotStart

PATIENCE: Final = 10.0
"""Seconds to wait for the server of a killed ``clew`` that is still shutting down."""


_LOG: Final = logging.getLogger("clew.up")


class DataFolder:
    """A data folder that this process has locked, until :meth:`release`.

    The kernel holds the lock on an open file: it ends with a crash, and a child process that inherits the file
    descriptor :attr:`lock` keeps the folder locked after this process has died.
    """

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self.lock = lock

    def release(self) -> None:
        """Unlock the folder."""
        os.close(self.lock)


async def claim(path: Path) -> DataFolder:
    """Create the folder if needed, for this user alone (0700), and lock it.

    Raises:
        CannotStart: it cannot be written to, or another process uses it.
    """
    lock = _open(path)
    try:
        await _take(lock, path)
        try:
            os.truncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
        except OSError as fault:
            raise _not_writable(path, fault) from fault
    except BaseException:
        os.close(lock)
        raise
    return DataFolder(path, lock)


def _open(path: Path) -> int:
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        _tighten(path)
        return os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as fault:
        raise _not_writable(path, fault) from fault


def _tighten(path: Path) -> None:
    """Take a folder that was there from everybody but its owner: passwords, keys and the log are in it."""
    if path.stat().st_mode & 0o077:
        try:
            path.chmod(0o700)
        except PermissionError:
            _LOG.warning("%s may be read by others, and belongs to somebody else: make it 0700", path)


def _not_writable(path: Path, fault: OSError) -> CannotStart:
    return CannotStart(
        f"cannot write to the data folder {path}: {fault.strerror}. Choose another with --data or CLEW_DATA",
        code="data_not_writable",
    )


async def _take(lock: int, path: Path) -> None:
    deadline = asyncio.get_running_loop().time() + PATIENCE
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.pread(lock, 32, 0).decode(errors="replace").strip()
            if _alive(owner) or asyncio.get_running_loop().time() > deadline:
                raise CannotStart(
                    f"the data folder {path} is in use by pid {owner or 'unknown'}: "
                    "stop that process, or choose another folder with --data or CLEW_DATA",
                    code="data_in_use",
                ) from None
            await asyncio.sleep(0.05)
        else:
            return


def _alive(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return True
