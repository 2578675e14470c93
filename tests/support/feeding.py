"""An index that a test feeds by hand: what is in the log when it says so, and nothing that comes later."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from clew_events.codec import decode_recorded
from clew_events.commit import Position
from clew_events.subjects import event_stream
from clew_projections.index import Index, IndexWriter, open_for_writing
from clew_services.compose import Clew


class Fed:
    """The index of a composed Clew, whose lists it answers."""

    def __init__(self, clew: Clew, writer: IndexWriter, index: Index) -> None:
        self._clew = clew
        self._writer = writer
        self.index = index

    async def feed(self) -> None:
        """Bring the index to where the log is."""
        for shard in range(self._clew.deployment.shards):
            seq = self._writer.marks().get(shard, 0)
            while page := (await self._clew.js.after(event_stream(shard), f"clew.evt.{shard:02d}.*.*", seq + 1))[0]:
                commits = [decode_recorded(stored.body, Position(shard, stored.seq)) for stored in page]
                seq = page[-1].seq
                self._writer.apply(commits, {shard: seq})


@contextlib.contextmanager
def fed_by_hand(clew: Clew, folder: Path) -> Iterator[Fed]:
    """An index for a Clew, empty at first."""
    writer = open_for_writing(folder / "index.db")
    with Index(folder / "index.db") as index:
        clew.lists.index = index
        yield Fed(clew, writer, index)
        clew.lists.index = None
    writer.close()
