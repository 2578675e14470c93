"""Starts a program that does not outlive whoever started it, not even ``kill -9``.

Run as a script, it asks the kernel to signal this process when its parent dies, and then becomes the program.
That is done in a process of its own, because code between fork and exec is unsafe once the parent has
threads. Only Linux can promise it; elsewhere the program is started as it is.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from signal import SIGKILL, Signals

_PR_SET_PDEATHSIG = 1


def tether_command(command: Sequence[str], signal: Signals = SIGKILL) -> list[str]:
    """The command line that runs ``command`` and has it sent ``signal`` when the calling process dies.

    It has to be started from the main thread: Linux watches the thread that forked, not the whole process.
    """
    if not sys.platform.startswith("linux"):
        return list(command)
    return [sys.executable, "-I", "-S", __file__, str(os.getpid()), str(int(signal)), *command]


def _become(parent: int, signal: int, command: list[str]) -> None:
    import ctypes  # noqa: PLC0415 - only the script needs it, and importing it costs the parent time

    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    if os.getppid() != parent:
        raise SystemExit(1)  # the parent died before it could be watched
    os.execv(command[0], command)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    _become(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
