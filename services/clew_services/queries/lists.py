"""Lists of threads, read from the index of this machine once it has reached the requested position; and of policies."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final, Protocol, TypeVar

from msgspec.structs import replace

from clew_events.commands import SetRetention
from clew_events.commit import Position
from clew_events.errors import Invalid, Unavailable
from clew_events.list_query import Condition, ListHolds, ListThreads, TimeTest, positions_of, positions_text
from clew_events.list_reply import Count, FilterHold, Freshness, HoldPage, RetentionList
from clew_projections.api_objects import held_thread, retention_object, standing_objects
from clew_projections.history.tenant_histories import TenantHistories
from clew_projections.index import WrittenList
from clew_projections.index.index_reader import IndexReader
from clew_projections.index.suspects import DuePlace, DueQuestion, Suspect
from clew_projections.page_size import PageBytes, default_page_bytes
from clew_projections.views import ThreadView
from clew_services.threads.tenant_rules import Impact

T = TypeVar("T")
PATIENCE: Final = 5.0
"""Seconds that a query waits for the index to reach a position."""


class Index(Protocol):
    """An index; see :class:`clew_projections.index.Index`."""

    async def page(self, tenant: str, query: ListThreads, room: int) -> WrittenList:
        """A page of a tenant's threads, of at most ``room`` bytes, as of the index's position."""

    async def ask(self, question: Callable[[IndexReader], T]) -> T:
        """What a reader of the index answers, as of the index's position."""

    async def wait_until(self, shard: int, seq: int, patience: float) -> None:
        """Return once the index includes a shard up to a sequence; waits at most ``patience`` seconds."""


class Lists:
    """Answers list queries from ``index``; without one they are unavailable."""

    def __init__(
        self,
        shards: int,
        tenants: TenantHistories,
        index: Index | None = None,
        page_bytes: PageBytes = default_page_bytes,
    ) -> None:
        self._shards = shards
        self.tenants = tenants
        self._page_bytes = page_bytes
        self.index = index

    async def threads(self, tenant: str, query: ListThreads) -> WrittenList:
        """A page of a tenant's threads, from an index that includes the commits at ``at_least``.

        It has fewer than ``limit`` if their metadata is long.

        Raises:
            Invalid: a cursor, an order or a position is invalid.
            Unavailable: there is no index here, or it has not reached ``at_least``.
        """
        index = await self._index_for(query)
        return await index.page(tenant, query, self._page_bytes())

    async def holds(self, tenant: str, query: ListHolds) -> HoldPage:
        """A page of a tenant's threads that have legal holds, from an index that includes the commits at ``at_least``.

        The first page has the standing holds as well, which are as of the log.

        Raises:
            Invalid: a position is invalid.
            Unavailable: there is no index here, or it has not reached ``at_least``.
        """
        page = await (await self._index_for(query)).ask(lambda reader: reader.holds(tenant, query))
        return page if query.after is not None else replace(page, standing=await self.standing(tenant, query.hold))

    async def standing(self, tenant: str, hold: str | None = None) -> tuple[FilterHold, ...]:
        """A tenant's standing holds, by their names, or the one named ``hold``."""
        holds = (await self.tenants.state(tenant)).holds
        return standing_objects({name: each for name, each in holds.items() if hold in {None, name}})

    async def holds_of(self, view: ThreadView, hold: str | None, position: Position) -> HoldPage:
        """The legal holds of one thread, and the standing ones that cover it, or those named ``hold``."""
        covering = await self.tenants.find_holds(view)
        data = (held_thread(view),) if view.holds and hold in {None, *view.holds} else ()
        return HoldPage(
            data=data,
            standing=standing_objects({name: each for name, each in covering.items() if hold in {None, name}}),
            first_id=data[0].id if data else None,
            last_id=data[0].id if data else None,
            has_more=False,
            fresh=Freshness(position=positions_text(position), at=view.updated_at),
        )

    async def suspects(self, tenant: str, question: DueQuestion, after: DuePlace, limit: int) -> Sequence[Suspect]:
        """Threads of a tenant that may be due.

        Raises:
            Invalid: the filter of a policy makes the index look at too many threads.
            Unavailable: there is no index here.
        """
        index = self._index_of_this_process()
        return await index.ask(lambda reader: reader.suspects(tenant, question, after, limit))

    async def expiring_tenants(self, until: datetime) -> Sequence[str]:
        """The tenants that have threads which expire by a time.

        Raises:
            Unavailable: there is no index here.
        """
        return await self._index_of_this_process().ask(lambda reader: reader.expiring_tenants(until))

    async def retention(self, tenant: str) -> RetentionList:
        """A tenant's policies of retention, by their names.

        Raises:
            Corrupt: its own history cannot be read.
            Unavailable: the log does not answer.
        """
        policies = (await self.tenants.state(tenant)).policies
        return RetentionList(data=tuple(retention_object(policies[name]) for name in sorted(policies)))

    async def measure(self, tenant: str, command: SetRetention, now: datetime) -> Impact | None:
        """What a policy of retention is about now; ``None`` if there is no index, or none for a confirmed policy.

        Raises:
            Unavailable: the index cannot be asked now, and the policy is not confirmed.
            Invalid: the question of its filter makes the index look at too many threads.
            Corrupt: the tenant's own history cannot be read.
        """
        if self.index is None:
            return None
        where = () if command.where is None else (command.where,)
        age = TimeTest(lte=now - timedelta(days=command.after_days))
        due = {
            "created": Condition(recorded=age),
            "changed": Condition(updated=age),
            "original": Condition(created=age),
        }[command.since]
        standing = (await self.tenants.state(tenant)).holds.values()
        try:
            return Impact(
                everything=command.where is None or await self._is_all(tenant, command.where),
                threads=await self._count(tenant, *where),
                due=await self._count(tenant, *where, due),
                holds=(
                    *await self.index.ask(lambda reader: reader.names_of_holds(tenant, command.where)),
                    *[each.name for each in standing if (await self._count(tenant, *where, each.condition)).threads],
                ),
            )
        except Unavailable:
            if command.confirm:
                return None
            raise

    async def _is_all(self, tenant: str, where: Condition) -> bool:
        """Whether all threads of a tenant match, and there are any."""
        there, others = await self._count(tenant), await self._count(tenant, Condition(no=where))
        return there.threads > 0 == others.threads

    async def _count(self, tenant: str, *where: Condition) -> Count:
        condition = Condition(every=where) if where else None
        page = await self.threads(tenant, ListThreads(where=condition, limit=1, count=True))
        if page.count is None:
            raise AssertionError("a count was asked for")
        return page.count

    async def _index_for(self, query: ListThreads | ListHolds) -> Index:
        """The index, once it includes what a query asks for."""
        index = self._index_of_this_process()
        if query.at_least is not None:
            await self._wait_for_index(index, query.at_least)
        return index

    def _index_of_this_process(self) -> Index:
        index = self.index
        if index is None:
            raise Unavailable(
                "there is no index of threads in this process, so it cannot list them: run one of the role 'api' or "
                "'query' that has a folder for it (CLEW_INDEX)",
                code="no_index",
            )
        return index

    async def _wait_for_index(self, index: Index, at_least: str) -> None:
        positions = positions_of(at_least)
        if (highest := max(positions)) >= self._shards:
            raise Invalid(
                f"Invalid 'at_least': there is no shard {highest}, only 0 to {self._shards - 1}.", param="at_least"
            )
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE
        for shard, seq in positions.items():
            await index.wait_until(shard, seq, max(0.0, deadline - loop.time()))
