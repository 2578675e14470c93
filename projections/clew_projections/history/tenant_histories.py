"""Reads of the tenants' own histories, which are short and so are folded where they are needed; nothing is stored."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct
from msgspec.structs import replace

from clew_events.list_query import Condition
from clew_events.subjects import TENANT, Address, address_of, event_stream, own_subjects
from clew_projections.apply import advance
from clew_projections.history.histories import Histories
from clew_projections.index.match import MatchedThread, match, needs_actors
from clew_projections.lru_cache import LRUCache
from clew_projections.nats.replica_reads import pages
from clew_projections.nats.stream_reads import Reads
from clew_projections.tenant_state import StandingHold, TenantState, evolve_tenant
from clew_projections.views import ThreadView, absent


class _Folded(Struct, frozen=True):
    """A tenant's own history, folded: its end, as a thread's is kept, and what it says."""

    view: ThreadView
    state: TenantState


class TenantHistories:
    """Folds what tenants have ordered. Every read is as fresh as the log: one small request where nothing changed."""

    def __init__(self, js: Reads, histories: Histories, *, kept: int = 10_000) -> None:
        """``kept`` is how many tenants are cached."""
        self._js = js
        self._histories = histories
        self._folded = LRUCache[str, _Folded](kept)
        self._tenants: dict[str, None] = {}
        self._listed_up_to = 0

    async def state(self, tenant: str) -> TenantState:
        """Read a tenant's policies and standing holds, as of the latest acknowledged commit of its own history.

        Raises:
            Corrupt: the history cannot be read.
            Unavailable: the log does not answer.
        """
        address = Address(tenant, TENANT)
        folded = self._folded.get(tenant) or _Folded(absent(*address), TenantState())
        async for recorded in self._histories.after(address, folded.view.seq):
            view, state = advance(folded.view, recorded), folded.state
            for event in recorded.commit.events:
                state = evolve_tenant(state, event)
            folded = _Folded(view, replace(state, n=view.n, seq=view.seq))
        self._folded.put(tenant, folded)
        return folded.state

    async def find_holds(self, view: ThreadView) -> dict[str, StandingHold]:
        """Return the standing holds that cover a thread as it is in a view, by name, by the orders in force now.

        Raises:
            Corrupt: the tenant's own history, a filter in it, or the thread's history cannot be read.
            Unavailable: the log does not answer.
        """
        holds = (await self.state(view.tenant)).holds
        thread = await self.matched(view, (hold.condition for hold in holds.values()))
        return {name: hold for name, hold in holds.items() if match(hold.condition, thread)}

    async def matched(self, view: ThreadView, conditions: Iterable[Condition]) -> MatchedThread:
        """Return a thread as conditions look at it: its view, and the actors if one of them asks for these.

        Raises:
            Corrupt: the thread's history cannot be read.
            Unavailable: the log does not answer.
        """
        if view.n == 0 or not any(map(needs_actors, conditions)):
            return MatchedThread(view)
        address = Address(view.tenant, view.id)
        first = await self._histories.first(address)
        latest = first if view.n == 1 else await self._histories.at(address, view.seq)
        return MatchedThread(view, first.commit.actor, latest.commit.actor)

    async def tenants(self) -> list[str]:
        """Return the tenants that have policies or standing holds, in order.

        Raises:
            Corrupt: the history of one of them cannot be read.
            Unavailable: the log does not answer.
        """
        shard, subjects = own_subjects(self._histories.shards)
        stream = event_stream(shard)
        newest = await self._js.newest_at_leader(stream, subjects, self._listed_up_to)
        if newest is not None:
            async for page in pages(self._js, stream, subjects, self._listed_up_to + 1, newest.seq):
                self._tenants |= dict.fromkeys(address_of(each.subject).tenant for each in page)
            self._listed_up_to = newest.seq
        return [tenant for tenant in sorted(self._tenants) if not (await self.state(tenant)).empty]
