"""Log lines of services on standard error, as text or as JSON."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Final

import msgspec

from clew_services.cli.terminal import escape_json, printable

STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
"""Attributes of every log record; any others come from ``extra`` and are shown."""


def hush() -> None:
    """Keep log lines off the terminal: a command prints its own answer or error."""
    logging.getLogger().addHandler(logging.NullHandler())


def log_to_stderr(form: str = "text") -> None:
    """Log one line per event on standard error, as ``text`` or as ``json``."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonLines() if form == "json" else TextLines())
    handler.addFilter(_has_meaning)
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def _has_meaning(record: logging.LogRecord) -> bool:
    """False for what asyncio says whenever a connection of nats-py with TLS ends, as it should."""
    return "returning true from eof_received()" not in str(record.msg)


class TextLines(logging.Formatter):
    """Formats a record as text: the time, the level, the logger and the message; control characters are escaped."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        """One line, and further lines for an exception."""
        return "\n".join(map(printable, super().format(record).split("\n")))


class JsonLines(logging.Formatter):
    """Formats a record as one JSON object: ``at``, ``level``, ``logger``, ``message``, ``exception`` if any, extras."""

    def format(self, record: logging.LogRecord) -> str:
        """One JSON object on one line."""
        fields: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        fields |= {name: str(value) for name, value in vars(record).items() if name not in STANDARD}
        return escape_json(msgspec.json.encode(fields)).decode()
