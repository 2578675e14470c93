"""Where a running service says what happens to it, and in which form."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Final

import msgspec

STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
"""What every record has; whatever else one has was put there to be shown."""


def hush() -> None:
    """Keep log lines off the terminal: a command's own answer or error says what matters."""
    logging.getLogger().addHandler(logging.NullHandler())


def log_to_stderr(form: str = "text") -> None:
    """One line per event on standard error, as ``text`` or as ``json``; standard output is for answers."""
    handler = logging.StreamHandler()
    handler.setFormatter(
        JsonLines() if form == "json" else logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    )
    logging.basicConfig(level=logging.INFO, handlers=[handler])


class JsonLines(logging.Formatter):
    """Each event as one JSON object: ``at``, ``level``, ``logger``, ``message``, and ``exception`` if there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """The event in one line."""
        said: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            said["exception"] = self.formatException(record.exc_info)
        said |= {name: str(value) for name, value in vars(record).items() if name not in STANDARD}
        return msgspec.json.encode(said).decode()
