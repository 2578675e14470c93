"""The program ``clew``, which Ctrl-C ends from the start.

While modules are imported, Ctrl-C ends the process by the default action of the signal. Python's KeyboardInterrupt
would print the traceback of an import, or be lost where a callback was running.
"""

from __future__ import annotations

import gc
import signal


def main() -> None:
    """Run the command line."""
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    gc.disable()  # nearly nothing that is imported is ever garbage, and it is looked through a hundred times
    from clew_services.cli import main as clew  # noqa: PLC0415 - which takes its time

    clew(prog_name="clew")


def load_commands() -> None:
    """Have Ctrl-C raise ``KeyboardInterrupt`` from now on, as there will be something to be finished.

    Garbage is collected from now on, too, but not among what was imported.
    """
    if not gc.isenabled():
        gc.freeze()
        gc.enable()
    if signal.getsignal(signal.SIGINT) is signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)
