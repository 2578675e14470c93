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


def tether_command(command: Sequence[str], signal: Signals = SIGKILL) -> list[str]:
    """The command line that runs ``command`` and sends it ``signal`` when the calling process dies.

    It must be started from the main thread: Linux watches the thread that forked, not the whole process.
    """
    if not sys.platform.startswith("linux"):
        return list(command)
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(int(signal)), *command]


def _become(parent: int, signal: int, command: list[str]) -> None:
    import ctypes  # noqa: PLC0415 - only the script needs it, and the import is slow

    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    if os.getppid() != parent:
        raise SystemExit(1)  # the parent died before it could be watched
    os.execv(command[0], command)  # noqa: S606 - no shell is needed


if __name__ == "__main__":
    _become(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
