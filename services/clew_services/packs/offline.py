"""Queries on a pack without a server, answered by the same code as those of a deployment."""

from __future__ import annotations

from clew_projections.history.histories import Histories
from clew_projections.history.stretch import HistoryReader
from clew_projections.packs.pack import Pack
from clew_projections.packs.pack_streams import PackedStreams
from clew_projections.state.current import CurrentState, StateFromLog
from clew_services.queries.history_pages import HistoryPages
from clew_services.queries.lists import Lists
from clew_services.queries.past import Past
from clew_services.queries.reader import Reader
from clew_services.threads.cache import Memory


class Offline:
    """The reader and the histories of a pack."""

    def __init__(self, pack: Pack) -> None:
        streams = PackedStreams(pack)
        self.histories = Histories(streams, pack.opening.shards, replicated=False)
        from_log = StateFromLog(self.histories)
        current, memory = CurrentState(lambda: from_log, from_log, _no_generations), Memory()
        trail = HistoryReader(streams, self.histories)
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


def _no_generations() -> None:
    """Nothing: a pack has no generations."""
