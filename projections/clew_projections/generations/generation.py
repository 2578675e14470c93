"""A generation's buckets with everything that this process caches of them, and the live generation.

All caches of buckets belong to a generation, so a switch drops them, and work begun on one generation ends on it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Final

from nats.aio.client import Client

from clew_events.errors import Corrupt, Unavailable
from clew_projections.generations.record import LIVE_GENERATIONS, Alias, Generation, Record, StoredRecord
from clew_projections.history.histories import Histories
from clew_projections.kv.bucket import Bucket
from clew_projections.kv.command_ids import SpentIds
from clew_projections.kv.key_names import bucket_names
from clew_projections.kv.watcher import KvWatcher
from clew_projections.nats.jetstream import JetStream
from clew_projections.state.current import StateFromLog
from clew_projections.state.from_views import StateFromViews
from clew_projections.state.state_reads import StateReads

_LOG: Final = logging.getLogger("clew.generations")


class GenerationBuckets:
    """A generation as this process uses it. ``foreign`` if another fold makes its views than this process's.

    A foreign generation is neither read nor written: every answer is folded from the log.
    """

    def __init__(
        self,
        js: JetStream,
        generation: Generation,
        histories: Histories,
        *,
        fold: int,
        replicated: bool,
    ) -> None:
        """``fold`` is this process's; ``replicated`` unless the buckets have a single replica."""
        self.generation = generation
        self.foreign = generation.fold != fold
        threads, commands = bucket_names(generation.number)
        self.consumer = threads
        self.threads = Bucket(js, threads, replicated=replicated)
        self.commands = Bucket(js, commands, forgets=True, replicated=replicated)
        self.spent = SpentIds(self.commands)
        self.from_log = StateFromLog(histories)
        self.reading: StateReads = self.from_log
        if not self.foreign:
            self.reading = StateFromViews(self.threads, self.spent, histories, lambda: js.disconnects)

    @property
    def number(self) -> int:
        """The generation's number."""
        return self.generation.number

    @property
    def buckets(self) -> tuple[Bucket, ...]:
        """The buckets: threads, commands."""
        return self.threads, self.commands


class LiveGeneration:
    """Holds the live generation and switches when the record says so."""

    def __init__(
        self,
        alias: Alias,
        written: StoredRecord,
        make: Callable[[Generation], GenerationBuckets],
        forget: Callable[[], None],
    ) -> None:
        """``forget`` drops all other caches of views."""
        self.alias = alias
        self.watcher: KvWatcher | None = None
        self._stored = written
        self._make = make
        self._forget = forget
        self._current = make(written.record.current)
        self._switched: set[asyncio.Event] = set()

    @property
    def record(self) -> Record:
        """The record as last read."""
        return self._stored.record

    @property
    def current(self) -> GenerationBuckets:
        """The live generation. It may change at any ``await``: keep the object for several consistent reads."""
        return self._current

    @property
    def reading(self) -> StateReads:
        """What reads current state from the live generation."""
        return self._current.reading

    def request_refresh(self) -> None:
        """Have the record read again soon, if it is watched: this process has a reason to."""
        if self.watcher is not None:
            self.watcher.refresh()

    async def refresh(self) -> None:
        """Read the record and switch to the generation that it names.

        Raises:
            Unavailable: the bucket does not answer.
            Corrupt: the record is unreadable.
        """
        before = self.record.live
        self.update(await self.alias.read_record())
        if self.record.live != before:
            _LOG.info("switched from generation %d to %d", before, self.record.live)

    async def is_removed(self, generation: GenerationBuckets) -> bool:
        """Whether the record, read now, says that a generation is removed; false also if it cannot be read.

        Then it is expected that something of it does not answer. The notice of a switch and the removal that follows it
        may arrive in any order.
        """
        try:
            await self.refresh()
        except (Corrupt, Unavailable):
            return False
        return not self.record.keeps(generation.number)

    def update(self, stored: StoredRecord) -> None:
        """Use a record as the latest, unless a later one is known."""
        if stored.revision <= self._stored.revision:
            return
        before, self._stored = self._stored.record, stored
        if (stored.record.live, stored.record.repairs) != (before.live, before.repairs):
            self._forget()
            self._current = self._make(stored.record.current)
            for switched in self._switched:
                switched.set()

    async def wait_for_switch(self, generation: GenerationBuckets) -> None:
        """Return when another generation is live."""
        switched = asyncio.Event()
        self._switched.add(switched)
        try:
            while self._current is generation:
                switched.clear()
                await switched.wait()
        finally:
            self._switched.discard(switched)


@contextlib.asynccontextmanager
async def watch_alias(nc: Client, live: LiveGeneration, reconnected: list[Callable[[], None]]) -> AsyncIterator[None]:
    """Keep ``live`` at the generation that the record names, for the duration of the block.

    The caller must call the functions in ``reconnected`` after every reconnect of ``nc``. A late switch does no harm:
    reads from the former live generation stay correct, it is only not projected into any more.
    """

    async def read(_: str) -> None:
        await live.refresh()

    live.watcher = KvWatcher(read, live.refresh, name="the record of generations", log=_LOG)
    async with live.watcher.watch(nc, LIVE_GENERATIONS, reconnected):
        yield
