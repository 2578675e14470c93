"""Answer each message of a user with its number of words. The commands have ids that follow from the commit."""

import os
import sys
from pathlib import Path

from clew_events.client.sync import connect
from clew_events.content import Text
from clew_events.errors import NotFound
from clew_events.events import ItemAdded

kept = Path(sys.argv[1])
after = kept.read_text() if kept.exists() else None

with connect(os.environ.get("NATS_URL", "nats://127.0.0.1:4222"), actor="word-counter") as clew:
    for entry in clew.feed(after=after, types=["ItemAdded"], follow="--follow" in sys.argv):
        if entry.commit is None:
            raise RuntimeError(f"{entry.position} cannot be read: {entry.fault}")
        for number, event in enumerate(entry.commit.events):
            # What it writes comes back to it in the feed, and must not be answered again.
            if not isinstance(event, ItemAdded) or event.message.role != "user":
                continue
            words = sum(len(part.text.split()) for part in event.message.content if isinstance(part, Text))
            try:
                # The same commit gives the same id. If this stops before the cursor is stored, it sends the command
                # again, and Clew answers as it did before.
                clew.add_message(
                    entry.commit.thread, f"{words} words", role="assistant", command_id=f"words-{entry.hash}-{number}"
                )
            except NotFound:
                print(f"{entry.commit.thread} was deleted meanwhile")
        kept.write_text(entry.id)
