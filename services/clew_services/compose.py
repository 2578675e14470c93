"""The one composition root: everything is put together here, and takes its collaborators as arguments elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from clew_events.subjects import event_stream
from clew_projections.audit import Audit
from clew_projections.buckets import COMMANDS, MESSAGES, THREADS, Bucket
from clew_projections.checkpoint import Checkpoint
from clew_projections.current import Current
from clew_projections.deliveries import Deliveries
from clew_projections.doubt import Doubts
from clew_projections.history import Histories
from clew_projections.message_views import MessageViews
from clew_projections.parking import Parked, parked
from clew_projections.projecting import Projecting
from clew_projections.projector import Projector
from clew_projections.proof.verifying import Verifier
from clew_projections.prove import Prover
from clew_projections.spent import SpentIds
from clew_projections.trail import Trail
from clew_services import streams
from clew_services.handle import Handler
from clew_services.history_pages import HistoryPages
from clew_services.keys import Keys
from clew_services.keys.following import following
from clew_services.keys.ring import KeyRing
from clew_services.limits import DEFAULT, Limits
from clew_services.log import Log
from clew_services.memory import Memory
from clew_services.nats_connection import INBOX_PREFIX, Connection, connection
from clew_services.observing import NOBODY, Observer
from clew_services.reader import Reader
from clew_services.repeats import Repeats
from clew_services.streams import Deployment
from clew_services.streams.wanted import PROJECTOR

__all__ = ["Clew", "Connection", "connected", "connection"]


class Clew:
    """A verified deployment and what can be done with it."""

    def __init__(
        self, connection: Connection, deployment: Deployment, limits: Limits = DEFAULT, observer: Observer = NOBODY
    ) -> None:
        js = connection.js
        self.connection = connection
        self.nc = connection.nc
        self.js = js
        self.deployment = deployment
        self.observer = observer
        replicated = deployment.replicas > 1
        self.threads = Bucket(js, THREADS, replicated=replicated)
        self.messages = Bucket(js, MESSAGES, replicated=replicated)
        self.commands = Bucket(js, COMMANDS, forgets=True, replicated=replicated)
        self.spent = SpentIds(self.commands)
        self.histories = Histories(js, deployment.shards, replicated=replicated)
        self.doubts = Doubts(js, (self.messages, self.commands), self._connection)
        self.current = Current(self.threads, self.messages, self.histories, self.doubts)
        self.memory = Memory()
        repeats = Repeats(self.current, self.histories, self.spent)
        log = Log(js, deployment.shards, observer=observer)
        self.handler = Handler(
            log, self.current, self.histories, repeats, self.memory, limits=limits, observer=observer
        )
        self.trail = Trail(js, self.histories)
        pages = HistoryPages(self.trail, self.current, self.memory)
        self.reader = Reader(self.current, self.histories, self.memory, pages)
        self.keys = KeyRing(js)

    def checkpoint(self, shard: int) -> Checkpoint:
        """The checkpoint of a shard, and with it how far its projection is."""
        buckets = (self.threads, self.messages, self.commands)
        return Checkpoint(self.js, event_stream(shard), PROJECTOR, buckets, shard, connection=self._connection)

    def projector(self, shard: int) -> Projector:
        """A projector of one shard. Any number of them may run, here and elsewhere."""
        messages = MessageViews(self.messages, self.histories)
        return Projector(
            Deliveries(self.nc, event_stream(shard), PROJECTOR),
            Projecting(self.threads, messages, self.spent, self.histories, self.doubts),
            self.threads,
            self.checkpoint(shard),
            self._connection,
            projected=self.observer.shard(shard),
        )

    async def parked(self) -> Sequence[Parked]:
        """The threads that stand still because their history cannot be folded."""
        return await parked(self.threads)

    def audit(self) -> Audit:
        """Reads the whole log and checks its chains."""
        return Audit(self.js, self.deployment.shards, replicated=self.deployment.replicas > 1)

    def verifier(self) -> Verifier:
        """Walks the chains of the log."""
        return Verifier(self.js, self.deployment.shards)

    def prover(self) -> Prover:
        """Compares the buckets with the log."""
        return Prover(self.audit(), self.threads, self.messages, self.histories, self.doubts)

    def following(self, keys: Keys) -> AbstractAsyncContextManager[None]:
        """Keep ``keys`` at what the bucket of keys says, for as long as the block lasts."""
        return following(self.nc, self.keys, keys, self.connection.reconnected)

    def _connection(self) -> int:
        return self.connection.made

    async def project(self, stop: asyncio.Event) -> None:
        """Project every shard until ``stop`` is set."""
        async with asyncio.TaskGroup() as shards:
            for shard in range(self.deployment.shards):
                shards.create_task(self.projector(shard).run(stop))


@asynccontextmanager
async def connected(
    url: str,
    *,
    name: str,
    patience: float = 10.0,
    limits: Limits = DEFAULT,
    inbox_prefix: str = INBOX_PREFIX,
    observer: Observer = NOBODY,
) -> AsyncIterator[Clew]:
    """A deployment, verified and ready to use, within limits of the operator's choice.

    ``observer`` is told what happens in it.

    Raises:
        Unavailable: NATS does not answer, or nobody has run ``clew init`` there.
        Corrupt: a stream is not as it must be; see :mod:`clew_services.streams`.
    """
    async with connection(url, name=name, patience=patience, inbox_prefix=inbox_prefix) as made:
        yield Clew(made, await streams.verify(made.js), limits, observer)
