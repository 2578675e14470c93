"""Starts a program that ends with its parent process, even if that is killed.

Run as a script, this module has the kernel signal the process when its parent dies, and then executes the program. A
script does it because code between fork and exec is unsafe once the parent has threads. Only Linux supports it;
elsewhere the program is started directly.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from signal import SIGKILL, Signals

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def tether_command(command: Sequence[str], signal: Signals = SIGKILL) -> list[str]:
    """The command line that runs ``command`` and sends it ``signal`` when the calling process dies.

    It must be started from the main thread: Linux watches the thread that forked, not the whole process.
    """
    if not sys.platform.startswith("linux"):
        return list(command)
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(int(signal)), *command]


def end_with(parent: int, signal: int) -> None:
    """Have the kernel send this process a signal when its parent dies, or end it if that has died already (Linux)."""
    if _prctl(_PR_SET_PDEATHSIG, signal) != 0:
        raise OSError("the kernel does not watch the parent process")
    if os.getppid() != parent:
        raise SystemExit(1)


def adopt_orphans() -> bool:
    """Become the parent of grandchildren whose parent has ended; whether the kernel does that (Linux)."""
    return _prctl(_PR_SET_CHILD_SUBREAPER, 1) == 0


def _prctl(option: int, value: int) -> int:
    import ctypes  # noqa: PLC0415 - the import is slow

    return int(ctypes.CDLL(None).prctl(option, value, 0, 0, 0))


if __name__ == "__main__":
    end_with(int(sys.argv[1]), int(sys.argv[2]))
    os.execv(sys.argv[3], sys.argv[3:])  # noqa: S606 - no shell is needed
