"""Lists of threads: answered from the index of this process's machine, once it has come as far as it must."""

from __future__ import annotations

import asyncio
from typing import Final, Protocol

from clew_events.errors import Invalid, Unavailable
from clew_events.list_query import ListThreads, positions_of
from clew_projections.index import WrittenList

PATIENCE: Final = 5.0
"""Seconds that a question waits for the index to come to where it should be."""


class Index(Protocol):
    """An index that can be asked; see :class:`clew_projections.index.Index`."""

    async def page(self, tenant: str, query: ListThreads) -> WrittenList:
        """A page of a tenant's threads, as the index is."""

    async def wait_until(self, shard: int, seq: int, patience: float) -> None:
        """Return once everything of a shard up to a sequence is in the index."""


class Lists:
    """Answers questions for lists. ``index`` is where from; without one there are no lists here."""

    def __init__(self, shards: int, index: Index | None = None) -> None:
        self._shards = shards
        self.index = index

    async def threads(self, tenant: str, query: ListThreads) -> WrittenList:
        """A page of a tenant's threads, with everything in it that ``at_least`` names.

        Raises:
            Invalid: a cursor, an order or a position that cannot be.
            Unavailable: there is no index here, or it is not as far as ``at_least`` yet.
        """
        index = self.index
        if index is None:
            raise Unavailable(
                "there is no index of threads in this process, so it cannot list them: run one of the role 'api' or "
                "'query' that has a folder for it (CLEW_INDEX)",
                code="no_index",
            )
        if query.at_least is not None:
            await self._wait_for_index(index, query.at_least)
        return await index.page(tenant, query)

    async def _wait_for_index(self, index: Index, at_least: str) -> None:
        wanted = positions_of(at_least)
        if (highest := max(wanted)) >= self._shards:
            raise Invalid(
                f"Invalid 'at_least': there is no shard {highest}, only 0 to {self._shards - 1}.", param="at_least"
            )
        loop = asyncio.get_running_loop()
        until = loop.time() + PATIENCE
        for shard, seq in wanted.items():
            await index.wait_until(shard, seq, max(0.0, until - loop.time()))
