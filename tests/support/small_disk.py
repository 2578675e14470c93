"""A file system of some megabytes that a test can really fill. It takes root to mount one."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest


class SmallDisk:
    """A mounted file system."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._ballast = path / "ballast"

    @property
    def free(self) -> int:
        """Bytes that are free."""
        return shutil.disk_usage(self.path).free

    def fill(self) -> None:
        """Leave no byte free; who deletes something on the disk meanwhile makes it necessary again."""
        with self._ballast.open("ab", buffering=0) as ballast, contextlib.suppress(OSError):
            while ballast.write(bytes(4096)):
                pass

    def relieve(self) -> None:
        """Free what :meth:`fill` took."""
        self._ballast.unlink()


@contextlib.contextmanager
def mounted(path: Path, megabytes: int) -> Iterator[SmallDisk]:
    """A disk of its own at ``path``; the test is skipped where none can be mounted."""
    if os.name != "posix" or os.geteuid() != 0:
        pytest.skip("a small disk to fill can only be mounted by root")
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "clew-test", str(path)]
    made = subprocess.run(mount, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"no small disk can be mounted here: {made.stderr.strip()}")
    try:
        yield SmallDisk(path)
    finally:
        # Lazily, since a process that has just been killed may still hold a file.
        subprocess.run(["umount", "--lazy", str(path)], check=True)
