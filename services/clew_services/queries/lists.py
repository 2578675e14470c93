"""Lists of threads, read from the index of this machine once it has reached the requested position."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from clew_events.errors import Invalid, Unavailable
from clew_events.list_query import ListHolds, ListThreads, positions_of
from clew_events.list_reply import HoldPage
from clew_projections.index import WrittenList
from clew_projections.page_size import PageBytes, default_page_bytes

PATIENCE: Final = 5.0
"""Seconds that a query waits for the index to reach a position."""


class Index(Protocol):
    """An index; see :class:`clew_projections.index.Index`."""

    async def page(self, tenant: str, query: ListThreads, room: int) -> WrittenList:
        """A page of a tenant's threads, of at most ``room`` bytes, as of the index's position."""

    async def holds(self, tenant: str, query: ListHolds) -> HoldPage:
        """A page of a tenant's threads that have legal holds, as of the index's position."""

    async def wait_until(self, shard: int, seq: int, patience: float) -> None:
        """Return once the index includes a shard up to a sequence; waits at most ``patience`` seconds."""


class Lists:
    """Answers list queries from ``index``; without one they are unavailable."""

    def __init__(self, shards: int, index: Index | None = None, page_bytes: PageBytes = default_page_bytes) -> None:
        self._shards = shards
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

        Raises:
            Invalid: a position is invalid.
            Unavailable: there is no index here, or it has not reached ``at_least``.
        """
        return await (await self._index_for(query)).holds(tenant, query)

    async def _index_for(self, query: ListThreads | ListHolds) -> Index:
        """The index, once it includes what a query asks for."""
        index = self.index
        if index is None:
            raise Unavailable(
                "there is no index of threads in this process, so it cannot list them: run one of the role 'api' or "
                "'query' that has a folder for it (CLEW_INDEX)",
                code="no_index",
            )
        if query.at_least is not None:
            await self._wait_for_index(index, query.at_least)
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
