"""The client as it is used: all commands and queries of one tenant, each waited for."""

from __future__ import annotations

from clew_events.client import client
from clew_events.client.sync.background import Background
from clew_events.client.sync.command_methods import Commands
from clew_events.client.sync.feed_methods import Feeds
from clew_events.client.sync.proof_methods import Proofs
from clew_events.client.sync.query_methods import Queries


class Clew(Commands, Queries, Feeds, Proofs):
    """Everything that can be asked of Clew for one tenant, from any number of threads at once.

    Made by :func:`clew_events.client.sync.connect`.
    """

    def __init__(self, clew: client.Clew, background: Background) -> None:
        super().__init__(clew, background)
        self.tenant = clew.tenant
        self.actor = clew.actor
