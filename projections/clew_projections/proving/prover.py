"""The prover: threads compared with their views, one, some or all."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from clew_events.subjects import Address
from clew_projections.jetstream import JetStream
from clew_projections.proving.comparing import Compared, Comparing
from clew_projections.proving.sweeping import Sweep
from clew_projections.proving.walking import sampled


class Prover:
    """Compares what the buckets of one generation say with what the log says."""

    def __init__(self, js: JetStream, shards: int, comparing: Comparing, sweep: Sweep) -> None:
        self._js = js
        self._shards = shards
        self._comparing = comparing
        self._sweep = sweep

    async def thread(self, address: Address) -> Compared:
        """One thread.

        Raises:
            Unavailable: the log or a bucket does not answer.
        """
        return await self._comparing.thread(address)

    async def prove(self, address: Address | None = None, *, tenant: str | None = None) -> AsyncIterator[Compared]:
        """Every thread of the log, or one, or those of a tenant, shard by shard.

        Raises:
            Unavailable: the log or a bucket does not answer.
        """
        if address is not None:
            yield await self.thread(address)
            return
        for shard in range(self._shards):
            async with aclosing(self._sweep.shard(shard, tenant)) as found:
                async for compared in found:
                    yield compared

    async def sample(self, count: int, seed: int, *, tenant: str | None = None) -> AsyncIterator[Compared]:
        """Some threads at random; see :func:`~clew_projections.proving.walking.sampled`.

        Raises:
            Unavailable: the log or a bucket does not answer.
        """
        async for address in sampled(self._js, self._shards, count, seed, tenant):
            yield await self.thread(address)
