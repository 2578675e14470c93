"""Renewal of the buckets: a new generation from the log, and none of those before it.

A bucket keeps superseded values in its blocks, and no call of the server overwrites those. Views hold metadata, so
after an erasure the live generation may hold what was erased, and so may those that are kept to go back to. A
generation that was begun after the contents were erased from the log never held them.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Final

from msgspec import Struct

from clew_events.errors import Conflict, Corrupt, NotFound
from clew_projections.generations.generations import Generations
from clew_projections.nats.jetstream import stream_state
from clew_services.open_deployment import OpenDeployment
from clew_services.rebuild.bucket_rebuild import Rebuild
from clew_services.rebuild.kept_generations import KeptGenerations

SMALL: Final = 20_000
"""Commits that are projected in seconds: a renewal of no more may be made for each erasure."""


class RenewalCost(Struct, frozen=True):
    """What a renewal takes: ``commits`` to project, and ``bytes`` of disk for the new generation beside the old."""

    commits: int
    bytes: int

    @property
    def is_small(self) -> bool:
        """Whether it may be done for a single erasure; otherwise it is done for many together."""
        return self.commits <= SMALL


class ViewRenewal:
    """Renews the buckets of a deployment, unattended."""

    def __init__(
        self,
        opened: OpenDeployment,
        generations: Generations,
        kept: KeptGenerations,
        rebuild: Callable[[], Rebuild],
    ) -> None:
        """``rebuild`` makes a rebuild of the buckets."""
        self._js = opened.js
        self._shards = opened.shards
        self._alias = generations.live.alias
        self._live = generations.live
        self._kept = kept
        self._rebuild = rebuild
        self._running = False

    async def cost(self) -> RenewalCost:
        """What a renewal would take now: one request for each stream.

        Raises:
            Unavailable: JetStream does not answer.
        """
        log = [await self._js.extent(shard) for shard in range(self._shards)]
        views = [await stream_state(self._js, bucket.stream) for bucket in self._live.current.buckets]
        return RenewalCost(sum(each.messages for each in log), sum(each.bytes for each in views))

    async def newest(self) -> int:
        """The highest number that a generation has had. Note it when contents are erased: those up to it may hold them.

        Raises:
            Unavailable: JetStream does not answer.
        """
        return (await self._alias.read_record()).record.last

    async def is_done(self, after: int) -> bool:
        """Whether no generation is left whose number is not above ``after``.

        Raises:
            Unavailable: JetStream does not answer.
        """
        known = (await self._alias.read_record()).record
        return all(each.number > after for each in known.generations)

    async def run(self, after: int) -> None:
        """Have a generation whose number is above ``after`` made live, and remove all up to it.

        What is done already is not repeated: a live generation above ``after`` stays, and an interrupted renewal is
        resumed. An unfinished build that is not above ``after`` is finished first, since another process may be at it.

        Raises:
            Conflict: this object's renewal is under way; or a version with another fold is building a generation.
            Corrupt: the new generation is not consistent with the log, and so not live.
            Unavailable: JetStream does not answer.
        """
        if self._running:
            raise Conflict("the buckets are being renewed already", code="rebuild_under_way")
        self._running = True
        try:
            while (await self._alias.read_record()).record.live <= after:
                rebuilt = await self._rebuild().run()
                if not rebuilt.live:
                    raise Corrupt(
                        f"generation {rebuilt.generation} of the buckets differs from the log: see what "
                        "'clew rebuild threads' says of it",
                        code="generation_wrong",
                    )
            for old in (await self._alias.read_record()).record.generations:
                if old.number <= after:
                    with suppress(NotFound):  # another process has just removed it
                        await self._kept.remove(old.number)
        finally:
            self._running = False
