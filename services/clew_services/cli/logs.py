"""Where a running service says what happens to it."""

from __future__ import annotations

import logging


def hush() -> None:
    """Keep log lines off the terminal: a command's own answer or error says what matters."""
    logging.getLogger().addHandler(logging.NullHandler())


def log_to_stderr() -> None:
    """One line per event on standard error; standard output is for answers."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
