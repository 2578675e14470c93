"""Writes the golden file of every event that has none, from its example in the contract; no other file is touched.

``python tests/golden/new_files.py`` is part of ``make schema``, and names what it wrote.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

from clew_events import codec
from clew_events.commit import FORMAT, Commit
from clew_events.contract.examples import EXAMPLES
from clew_events.events import Event, StoredEvent


def body_with(event: Event) -> bytes:
    """The stored body of a commit that has this event alone."""
    commit = Commit(
        v=FORMAT,
        id="command-1",
        tenant="default",
        thread="thread_0000000000000000000clew",
        n=1,
        at=datetime(2026, 11, 22, 22, tzinfo=UTC),
        actor="billing",
        by="nats",
        command="Golden",
        prev=None,
        events=(event,),
    )
    return encoded(commit)


def encoded(commit: Commit) -> bytes:
    """The stored body of a commit, with numbers for salts."""
    return codec.encode(commit, [f"{number:022d}" for number in range(len(commit.events) + 1)]).body


def main(folder: Path = Path(__file__).parent) -> None:
    """Write what is missing."""
    for event in get_args(StoredEvent):
        file = folder / f"{event.__name__}.commit"
        if event.__name__ not in EXAMPLES:
            sys.exit(f"{event.__name__} has no example in events/clew_events/contract/examples.py")
        if not file.exists():
            file.write_bytes(body_with(EXAMPLES[event.__name__][0]))
            sys.stdout.write(f"{file}\n")


if __name__ == "__main__":
    main()
