"""Count messages by role, each once, however often this is stopped: the cursor is stored with its effect."""

import os
import sqlite3
import sys

from clew_events.client.sync import connect
from clew_events.events import ItemAdded
from clew_events.replies import FeedEntry


def apply(db: sqlite3.Connection, entry: FeedEntry) -> None:
    """Store what follows from a commit and the cursor after it, in one transaction: both, or neither."""
    if entry.commit is None:
        raise RuntimeError(f"{entry.position} cannot be read: {entry.fault}")
    with db:
        for event in entry.commit.events:
            if isinstance(event, ItemAdded):
                db.execute("INSERT INTO messages VALUES (?, ?)", [event.item, event.message.role])
        db.execute("REPLACE INTO cursor VALUES (1, ?)", [entry.id])


db = sqlite3.connect(sys.argv[1])
db.execute("CREATE TABLE IF NOT EXISTS messages (id TEXT, role TEXT)")
db.execute("CREATE TABLE IF NOT EXISTS cursor (only INTEGER PRIMARY KEY, after TEXT)")
row = db.execute("SELECT after FROM cursor").fetchone()

with connect(os.environ.get("NATS_URL", "nats://127.0.0.1:4222")) as clew:
    # With --follow it goes on for ever, through lost connections and restarts.
    for entry in clew.feed(after=row[0] if row else None, follow="--follow" in sys.argv):
        apply(db, entry)
print(dict(db.execute("SELECT role, count(*) FROM messages GROUP BY role ORDER BY role")))
