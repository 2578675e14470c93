"""Threads that were compared with their views compared with this machine's index as well."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Final

from msgspec.structs import replace

from clew_events.subjects import Address
from clew_projections.finding import Finding
from clew_projections.histories.history import Histories
from clew_projections.index.proving import IndexProof, Told
from clew_projections.jetstream.calls import JetStream
from clew_projections.proving.comparing import Compared
from clew_projections.proving.strays import without_history

AT_ONCE: Final = 16
"""Threads whose histories are read at once."""
CODE: Final = "index_drift"


class Indexed:
    """Adds to what was compared what the index has of it."""

    def __init__(self, js: JetStream, proof: IndexProof, histories: Histories) -> None:
        self._js = js
        self._proof = proof
        self._histories = histories

    async def of_told(self, compared: Sequence[Compared], told: Sequence[Told]) -> list[Compared]:
        """The same, for threads whose whole history is known already.

        Raises:
            Unavailable: the log or the index cannot be read.
        """
        right = await self._proof.right(told)
        # What differs may just have changed, or not have come there yet.
        again = {
            each.address: each for each in await self.of([c for c, ok in zip(compared, right, strict=True) if not ok])
        }
        return [again.get(each.address, each) for each in compared]

    async def of(self, compared: Sequence[Compared]) -> list[Compared]:
        """The same, with the index compared up to where it is.

        Raises:
            Unavailable: the log or the index cannot be read.
        """
        found: list[Compared] = []
        for start in range(0, len(compared), AT_ONCE):
            found += await asyncio.gather(*map(self._one, compared[start : start + AT_ONCE]))
        return found

    async def rest(self) -> AsyncGenerator[Finding, None]:
        """What is wrong with the index beside its threads: counts, and threads of which the log knows nothing.

        Raises:
            Unavailable: the log or the index cannot be read.
        """
        for what in await self._proof.counts():
            yield Finding(tenant="", thread="", code=CODE, what=what, shard=0)
        page, place = await self._proof.page(0)
        while page:
            for address in await without_history(self._js, self._histories, page):
                wrong = await self._proof.thread(address)
                if wrong is not None:
                    yield self._finding(address, wrong)
            page, place = await self._proof.page(place)

    async def _one(self, compared: Compared) -> Compared:
        what = await self._proof.thread(compared.address)
        return compared if what is None else replace(compared, index=self._finding(compared.address, what))

    def _finding(self, address: Address, what: str) -> Finding:
        shard = self._histories.shard(address)
        return Finding(tenant=address.tenant, thread=address.thread, code=CODE, what=what, shard=shard)
