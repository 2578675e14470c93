"""The program ``clew``, which Ctrl-C ends from its first moment on.

While it loads there is nothing to be finished, so the system ends it. Python would raise an exception wherever it is: a
page of traceback from the middle of an import, or nothing at all where that is a callback, and the program goes on.
"""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command line."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from clew_services.cli import main as clew  # noqa: PLC0415 - which takes its time

    clew(prog_name="clew")


def load_commands() -> None:
    """Have Ctrl-C raise ``KeyboardInterrupt`` from now on, as there will be something to be finished."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
