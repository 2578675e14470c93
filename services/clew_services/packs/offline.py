"""A pack asked as a deployment is, with no server in reach: the same code answers, so the answers are the same."""

from __future__ import annotations

from clew_projections.current import Current
from clew_projections.from_log import FromLog
from clew_projections.history import Histories
from clew_projections.packs.reading import Pack
from clew_projections.packs.streams import PackedStreams
from clew_projections.trail import Trail
from clew_services.history_pages import HistoryPages
from clew_services.lists import Lists
from clew_services.memory import Memory
from clew_services.past import Past
from clew_services.reader import Reader


class Offline:
    """What answers questions about the threads in a pack."""

    def __init__(self, pack: Pack) -> None:
        streams = PackedStreams(pack)
        self.histories = Histories(streams, pack.opening.shards, replicated=False)
        from_log = FromLog(self.histories)
        current, memory = Current(lambda: from_log, from_log, _nothing), Memory()
        trail = Trail(streams, self.histories)
        self.reader = Reader(
            current,
            self.histories,
            memory,
            pages=HistoryPages(trail, current, memory),
            past=Past(trail, current, memory),
            feeds=None,
            checkpoints=None,
            lists=Lists(pack.opening.shards),
        )


def _nothing() -> None:
    """A pack has no generations that could have been switched meanwhile."""
