"""The prover: compares one, some or all threads with their views."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing

from clew_events.subjects import Address, event_stream
from clew_projections.consistency.index_check import IndexCheck
from clew_projections.consistency.sample import sample_threads
from clew_projections.consistency.stray_views import Strays
from clew_projections.consistency.sweep import Sweep
from clew_projections.consistency.view_check import ViewCheck, ViewComparison
from clew_projections.findings import Finding
from clew_projections.history.log_reads import LogReads
from clew_projections.nats.jetstream import stream_state


class Prover:
    """Compares the buckets of one generation with the log."""

    def __init__(
        self,
        js: LogReads,
        shards: int,
        comparing: ViewCheck,
        sweep: Sweep,
        *,
        strays: Strays,
        indexed: IndexCheck | None = None,
    ) -> None:
        """``indexed`` compares the index as well."""
        self._js = js
        self._shards = shards
        self._comparing = comparing
        self._sweep = sweep
        self._strays = strays
        self._indexed = indexed
        self._unmet: dict[int, int] = {}

    async def thread(self, address: Address) -> ViewComparison:
        """Compare one thread.

        Raises:
            Unavailable: the log or a bucket does not answer.
        """
        compared = await self._comparing.thread(address)
        return (await self._indexed.of([compared]))[0] if self._indexed is not None else compared

    async def prove(
        self, address: Address | None = None, *, tenant: str | None = None
    ) -> AsyncIterator[ViewComparison]:
        """Compare every thread of the log, or one, or those of a tenant, shard by shard.

        Raises:
            Unavailable: the log or a bucket does not answer.
        """
        if address is not None:
            yield await self.thread(address)
            return
        for shard in range(self._shards):
            # Every thread is a subject. The sweep meets each at its first commit, and more may be added meanwhile.
            self._unmet[shard] = (await stream_state(self._js, event_stream(shard))).num_subjects
            async with aclosing(self._sweep.shard(shard, tenant)) as found:
                async for compared in found:
                    self._unmet[shard] -= 1
                    yield compared

    async def rest(self, *, tenant: str | None = None) -> AsyncIterator[Finding]:
        """Yield findings about stray views and, without a tenant, about wrong counts of the index.

        After a complete :meth:`prove`, also the finding that it met fewer threads than the log has.

        Raises:
            Unavailable: the log, a bucket or the index does not answer.
        """
        async for found in self._strays.find(tenant):
            yield found
        for shard, count in self._unmet.items() if tenant is None else ():
            if count > 0:
                what = (
                    f"{count} threads of shard {shard} have commits in the log without a first one, so they were not "
                    "compared: 'clew verify --all' names them"
                )
                yield Finding(tenant="", thread="", code="missing", what=what, shard=shard)
        if self._indexed is not None and tenant is None:
            async for found in self._indexed.rest():
                yield found

    async def sample(self, count: int, seed: int, *, tenant: str | None = None) -> AsyncIterator[ViewComparison]:
        """Compare random threads; see :func:`~clew_projections.consistency.sample.sample_threads`.

        Raises:
            Unavailable: the log or a bucket does not answer.
        """
        async for address in sample_threads(self._js, self._shards, count, seed, tenant):
            yield await self.thread(address)
