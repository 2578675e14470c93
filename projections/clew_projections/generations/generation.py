"""One side of a blue/green pair: a generation's buckets, and whatever this process remembers of them.

All that is remembered of buckets hangs on a side, so a switch forgets it, and what was begun on one side is finished on
it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable
from typing import Final

from nats.aio.client import Client

from clew_projections.generations.alias import LIVE_GENERATIONS, Alias, StoredRecord
from clew_projections.generations.record import Generation, Record
from clew_projections.history.histories import Histories
from clew_projections.kv.bucket import Bucket
from clew_projections.kv.command_ids import SpentIds
from clew_projections.kv.key_names import bucket_names
from clew_projections.kv.lost_views import Doubts
from clew_projections.kv.watcher import KvWatcher
from clew_projections.nats.jetstream import JetStream
from clew_projections.state.current import StateFromLog
from clew_projections.state.from_views import StateFromViews
from clew_projections.state.state_reads import StateReads

_LOG: Final = logging.getLogger("clew.generations")


class GenerationBuckets:
    """A generation as this process uses it. ``foreign`` if another fold makes its views than this process would.

    Of a foreign side nothing is read and nothing is written: every answer is folded from the log.
    """

    def __init__(
        self,
        js: JetStream,
        generation: Generation,
        histories: Histories,
        connection: Callable[[], int],
        *,
        fold: int,
        replicated: bool,
    ) -> None:
        """``connection`` counts how often the connection to NATS was made; ``fold`` is this process's.

        ``replicated`` unless there is one replica of the buckets alone.
        """
        self.generation = generation
        self.foreign = generation.fold != fold
        threads, messages, commands = bucket_names(generation.number)
        self.consumer = threads
        self.threads = Bucket(js, threads, replicated=replicated)
        self.messages = Bucket(js, messages, replicated=replicated)
        self.commands = Bucket(js, commands, forgets=True, replicated=replicated)
        self.spent = SpentIds(self.commands)
        self.doubts = Doubts(js, (self.messages, self.commands), connection)
        self.from_log = StateFromLog(histories)
        self.reading: StateReads = self.from_log
        if not self.foreign:
            self.reading = StateFromViews(self.threads, self.messages, self.spent, histories, self.doubts)

    @property
    def number(self) -> int:
        """The generation's number."""
        return self.generation.number

    @property
    def buckets(self) -> tuple[Bucket, ...]:
        """The buckets, that of threads first."""
        return self.threads, self.messages, self.commands


class LiveGeneration:
    """Holds the side that is live and turns to another when the record says so."""

    def __init__(
        self,
        alias: Alias,
        written: StoredRecord,
        make: Callable[[Generation], GenerationBuckets],
        forget: Callable[[], None],
    ) -> None:
        """``forget`` drops whatever else is remembered of views."""
        self.alias = alias
        self.watcher: KvWatcher | None = None
        self._written = written
        self._make = make
        self._forget = forget
        self._side = make(written.record.current)
        self._turned: set[asyncio.Event] = set()

    @property
    def record(self) -> Record:
        """The record as last read."""
        return self._written.record

    @property
    def side(self) -> GenerationBuckets:
        """The live side. After any ``await`` it may be another: whoever needs more than one answer of it keeps it."""
        return self._side

    def doubt(self) -> None:
        """Have the record read again soon, if it is watched: this process has met a reason to."""
        if self.watcher is not None:
            self.watcher.refresh()

    async def read_again(self) -> None:
        """Read the record and turn to the side that is live by it.

        Raises:
            Unavailable: the bucket does not answer.
            Corrupt: the record cannot be read.
        """
        before = self.record.live
        self.learn(await self.alias.read_record())
        if self.record.live != before:
            _LOG.info("generation %d is live now, after %d", self.record.live, before)

    def learn(self, written: StoredRecord) -> None:
        """Take a record to be the latest, unless a later one is known."""
        if written.revision <= self._written.revision:
            return
        before, self._written = self._written.record, written
        if (written.record.live, written.record.repairs) != (before.live, before.repairs):
            self._forget()
            self._side = self._make(written.record.current)
            for each in self._turned:
                each.set()

    async def wait_for_switch(self, side: GenerationBuckets) -> None:
        """Return when another side is live."""
        turned = asyncio.Event()
        self._turned.add(turned)
        try:
            while self._side is side:
                turned.clear()
                await turned.wait()
        finally:
            self._turned.discard(turned)


@contextlib.asynccontextmanager
async def watch_alias(nc: Client, live: LiveGeneration, reconnected: list[Callable[[], None]]) -> AsyncIterator[None]:
    """Keep ``live`` at what the record says, for as long as the block lasts.

    What is in ``reconnected`` has to be called after every reconnect of ``nc``. Nothing goes wrong while the record
    cannot be read: a generation that was live stays right to read from, it is only no longer projected into.
    """

    async def read(_: str) -> None:
        await live.read_again()

    live.watcher = KvWatcher(read, live.read_again, name="the record of generations", log=_LOG)
    async with live.watcher.watch(nc, LIVE_GENERATIONS, reconnected):
        yield
