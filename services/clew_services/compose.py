"""The one composition root: everything is put together here, and takes its collaborators as arguments elsewhere."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from nats.aio.client import Client
from nats.errors import Error as NatsError

from clew_events.errors import Unavailable
from clew_events.subjects import event_stream
from clew_projections.audit import Audit
from clew_projections.buckets import COMMANDS, MESSAGES, THREADS, Bucket
from clew_projections.checkpoint import Checkpoint
from clew_projections.current import Current
from clew_projections.deliveries import Deliveries
from clew_projections.doubt import Doubts
from clew_projections.exchange import Exchange
from clew_projections.history import Histories
from clew_projections.jetstream import JetStream
from clew_projections.message_views import MessageViews
from clew_projections.projecting import Projecting
from clew_projections.projector import Projector
from clew_projections.prove import Prover
from clew_projections.spent import SpentIds
from clew_services import streams
from clew_services.handle import Handler
from clew_services.limits import DEFAULT, Limits
from clew_services.log import Log
from clew_services.memory import Memory
from clew_services.reader import Reader
from clew_services.repeats import Repeats
from clew_services.streams import Deployment

logger = logging.getLogger(__name__)

RECONNECT_WAIT: Final = 0.25


class Connection:
    """A connection to NATS that comes back by itself for ever.

    ``made`` counts how often it was made. It goes up as soon as the connection is lost, before anything is sent on the
    next one, so whoever sees it unchanged has been talking to one run of the server.
    """

    def __init__(self, nc: Client, js: JetStream) -> None:
        self.nc = nc
        self.js = js
        self.made = 1


class Clew:
    """A verified deployment and what can be done with it."""

    def __init__(self, connection: Connection, deployment: Deployment, limits: Limits = DEFAULT) -> None:
        js = connection.js
        self.connection = connection
        self.nc = connection.nc
        self.js = js
        self.deployment = deployment
        self.threads = Bucket(js, THREADS)
        self.messages = Bucket(js, MESSAGES)
        self.commands = Bucket(js, COMMANDS)
        self.spent = SpentIds(self.commands)
        self.histories = Histories(js, deployment.shards, replicated=deployment.replicas > 1)
        self.doubts = Doubts(js, (self.messages, self.commands), self._connection)
        self.current = Current(self.threads, self.messages, self.histories, self.doubts)
        memory = Memory()
        repeats = Repeats(self.current, self.histories, self.spent)
        log = Log(js, deployment.shards)
        self.handler = Handler(log, self.current, self.histories, repeats, memory, limits=limits)
        self.reader = Reader(self.current, self.histories, memory)

    def checkpoint(self, shard: int) -> Checkpoint:
        """The checkpoint of a shard, and with it how far its projection is."""
        buckets = (self.threads, self.messages, self.commands)
        return Checkpoint(self.js, event_stream(shard), streams.PROJECTOR, buckets, shard, connection=self._connection)

    def projector(self, shard: int) -> Projector:
        """A projector of one shard. Any number of them may run, here and elsewhere."""
        messages = MessageViews(self.messages, self.histories)
        return Projector(
            Deliveries(self.nc, event_stream(shard), streams.PROJECTOR),
            Projecting(self.threads, messages, self.spent, self.histories, self.doubts),
            self.threads,
            self.checkpoint(shard),
            self._connection,
        )

    def audit(self) -> Audit:
        """Reads the whole log and checks its chains."""
        return Audit(self.js, self.deployment.shards)

    def prover(self) -> Prover:
        """Compares the buckets with the log."""
        return Prover(self.audit(), self.threads, self.messages, self.histories)

    def _connection(self) -> int:
        return self.connection.made

    async def project(self, stop: asyncio.Event) -> None:
        """Project every shard until ``stop`` is set."""
        async with asyncio.TaskGroup() as shards:
            for shard in range(self.deployment.shards):
                shards.create_task(self.projector(shard).run(stop))


@asynccontextmanager
async def connection(url: str, *, name: str, patience: float = 10.0) -> AsyncIterator[Connection]:
    """A connection to NATS under a name that its operators will see; closed at the end, after a flush.

    Raises:
        Unavailable: no server answers at ``url`` within ``patience`` seconds.
    """
    made: list[Connection] = []

    async def on_error(fault: Exception) -> None:
        logger.warning("nats: %s", str(fault) or type(fault).__name__)

    async def on_disconnect() -> None:
        for each in made:
            each.made += 1

    async def on_reconnect() -> None:
        logger.warning("nats: connected again")

    nc = Client()
    try:
        async with asyncio.timeout(patience):
            await nc.connect(
                url,
                name=name,
                error_cb=on_error,
                disconnected_cb=on_disconnect,
                reconnected_cb=on_reconnect,
                allow_reconnect=True,
                max_reconnect_attempts=-1,
                reconnect_time_wait=RECONNECT_WAIT,  # type: ignore[arg-type]  # fractions of a second work
                ping_interval=20,
                pending_size=64 * 1024 * 1024,
            )
    except (NatsError, OSError, TimeoutError) as fault:
        await nc.close()
        raise Unavailable(f"no NATS server answers at {url}: {fault}", code="no_nats") from fault
    exchange = await Exchange(nc).start()
    try:
        made.append(Connection(nc, JetStream(exchange)))
        yield made[0]
    finally:
        await exchange.stop()
        await nc.close()


@asynccontextmanager
async def connected(url: str, *, name: str, patience: float = 10.0, limits: Limits = DEFAULT) -> AsyncIterator[Clew]:
    """A deployment, verified and ready to use, within limits of the operator's choice.

    Raises:
        Unavailable: NATS does not answer, or nobody has run ``clew init`` there.
        Corrupt: a stream is not as it must be; see :mod:`clew_services.streams`.
    """
    async with connection(url, name=name, patience=patience) as made:
        yield Clew(made, await streams.verify(made.js), limits)
