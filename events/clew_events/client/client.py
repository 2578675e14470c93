"""The client as it is used: all commands and queries of one tenant over one connection."""

from __future__ import annotations

from collections.abc import Callable

from nats.aio.client import Client

from clew_events.client.command_methods import Commands
from clew_events.client.feed_methods import Feeds
from clew_events.client.proof_methods import Proofs
from clew_events.client.query_methods import Queries
from clew_events.client.transport import Requester


class Clew(Commands, Queries, Feeds, Proofs):
    """Everything that can be asked of Clew for one tenant, over a nats-py connection that stays the caller's.

    ``actor`` is put on record with every command. A call that gets no answer is repeated for at most
    ``timeout`` seconds. ``trace`` gives the W3C ``traceparent`` to send along, by which a commit is followed
    back to its cause. Safe for any number of tasks at once.
    """

    def __init__(
        self,
        nc: Client,
        *,
        tenant: str = "default",
        actor: str | None = None,
        timeout: float = 10.0,
        trace: Callable[[], str | None] | None = None,
    ) -> None:
        requester = Requester(nc, timeout=timeout, trace=trace)
        Commands.__init__(self, requester, tenant=tenant, actor=actor)
        Queries.__init__(self, requester, tenant=tenant)
        Feeds.__init__(self, nc, requester, tenant=tenant)
        Proofs.__init__(self, requester, tenant=tenant)
        self.nc = nc
