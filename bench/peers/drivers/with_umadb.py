"""UmaDB by its own client: ``python -m bench.peers.drivers.with_umadb URL``.

A thread is made by one append that fails if the thread has an event already, which is the guard that Clew's commits
carry too. The client blocks without holding the interpreter's lock, so a worker is a thread.
"""

from __future__ import annotations

import json
import sys
import uuid
from importlib.metadata import version

from umadb import AppendCondition, Client, Event, Query, QueryItem

from bench.peers.drivers.driving import BODY, drive

DATA = json.dumps(BODY).encode()


def main(url: str) -> None:
    """Drive the server at ``url``."""
    client = Client(url)

    def append() -> int:
        thread = str(uuid.uuid4())
        absent = AppendCondition(fail_if_events_match=Query(items=[QueryItem(tags=[thread])]))
        event = Event(event_type="ThreadCreated", tags=[thread], data=DATA, uuid=uuid.uuid4())
        return client.append([event], condition=absent)

    def replay() -> int:
        return sum(1 for each in client.read() if json.loads(each.event.data)["metadata"])

    drive(append, replay, {"version": version("umadb"), "stored": "fsync before the answer (its documentation)"})


if __name__ == "__main__":
    main(sys.argv[1])
