"""Show one thread from its beginning, and go on as it changes, until it is deleted."""

import os
import sys

from clew_events.client.sync import connect
from clew_events.content import Text
from clew_events.events import ItemAdded, ThreadDeleted
from clew_events.replies import FeedEntry


def show(entry: FeedEntry) -> bool:
    """Print what a commit changed, and say whether to go on."""
    for event in entry.commit.events if entry.commit else ():
        match event:
            case ItemAdded(message=message):
                texts = [part.text for part in message.content if isinstance(part, Text)]
                print(f"{message.role}: {' '.join(texts)}", flush=True)
            case ThreadDeleted():
                print(f"deleted by {entry.commit.actor}")
                return False
    return True


with connect(os.environ.get("NATS_URL", "nats://127.0.0.1:4222")) as clew:
    for entry in clew.feed(thread_id=sys.argv[1], follow=True):
        if not show(entry):
            break
