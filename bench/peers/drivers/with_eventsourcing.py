"""The library ``eventsourcing``, set up by its own variables: ``python -m bench.peers.drivers.with_eventsourcing``.

A thread is an aggregate, made and saved; the guard is the unique key of its id and version. The library works in the
process that uses it, so this process is the rival's server too.
"""

from __future__ import annotations

import os
import sqlite3
from importlib.metadata import version
from typing import Any, Final

from eventsourcing.application import Application
from eventsourcing.domain import Aggregate, event

from bench.peers.drivers.driving import BODY, drive

PAGE: Final = 1000


class Thread(Aggregate):
    """A thread of messages with metadata."""

    @event("Created")
    def __init__(self, metadata: dict[str, str], messages: list[dict[str, str]]) -> None:
        self.metadata = metadata
        self.messages = messages


class Threads(Application[Any]):
    """The application; its log is read in larger pages than the ten events of the default."""

    log_section_size = PAGE


def main() -> None:
    """Drive the library on what ``PERSISTENCE_MODULE`` names."""
    app = Threads()

    def append() -> object:
        return app.save(Thread(BODY["metadata"], BODY["messages"]))

    def replay() -> int:
        count, start = 0, 1
        while page := app.notification_log.select(start=start, limit=PAGE):
            count += sum(1 for each in page if app.mapper.to_domain_event(each).originator_version == 1)
            start = page[-1].id + 1
        return count

    drive(append, replay, {"version": version("eventsourcing"), "stored": _stored(app)})


def _stored(app: Threads) -> str:
    """How it makes things durable, asked of the database itself."""
    store: Any = app.factory.datastore
    if os.environ["PERSISTENCE_MODULE"].endswith("sqlite"):
        with store.transaction(commit=False) as cursor:
            modes = []
            for name in ("journal_mode", "synchronous"):
                cursor.execute(f"PRAGMA {name}")
                modes.append(cursor.fetchone()[0])
        levels = ("OFF", "NORMAL", "FULL", "EXTRA")
        return f"SQLite {sqlite3.sqlite_version}: journal_mode={modes[0]}, synchronous={levels[modes[1]]} (its PRAGMAs)"
    with store.get_connection() as connection, connection.cursor() as cursor:
        found = []
        for name in ("fsync", "synchronous_commit"):
            cursor.execute(f"SHOW {name}")
            found.append(f"{name}={next(iter(cursor.fetchone().values()))}")
        return f"PostgreSQL: {', '.join(found)} (its SHOW)"


if __name__ == "__main__":
    main()
