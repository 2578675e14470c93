"""The composition root: it puts the parts together, and gives each part what it uses.

:mod:`clew_services.compose.roles` composes the services of a process.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import cached_property, partial
from pathlib import Path

from clew_events.connection import INBOX_PREFIX
from clew_events.nats_security import UNSECURED, NatsSecurity
from clew_events.subjects import Address, event_stream
from clew_projections.consistency.index_check import IndexCheck, IndexProof
from clew_projections.consistency.index_watch import IndexWatch
from clew_projections.consistency.prove import Prover
from clew_projections.consistency.repair import Repairer
from clew_projections.consistency.stray_views import Strays
from clew_projections.consistency.sweep import Sweep
from clew_projections.consistency.view_check import ViewCheck
from clew_projections.consistency.watch import Watch
from clew_projections.feed import Feed
from clew_projections.feed.live_end import Tail
from clew_projections.fold import FOLD
from clew_projections.generations.generation import GenerationBuckets, watch_alias
from clew_projections.generations.generations import Generations, project_live
from clew_projections.generations.record import Alias, StoredRecord
from clew_projections.history.stretch import HistoryReader
from clew_projections.history.tenant_histories import TenantHistories
from clew_projections.index.index import CurrentIndex
from clew_projections.index.index_folder import IndexFolder
from clew_projections.indexer.index_rebuild import IndexProgress, IndexRebuild
from clew_projections.indexer.indexer import Indexer, SnapshotSchedule
from clew_projections.indexer.log_follower import OrderedShard
from clew_projections.indexer.machines import Machines
from clew_projections.indexer.snapshots import Snapshots
from clew_projections.indexer.start import Start
from clew_projections.kv.bucket import Bucket
from clew_projections.page_size import AROUND, PAGE_BYTES
from clew_projections.projector.batch import BatchProjection
from clew_projections.projector.projector import Projector
from clew_projections.projector.shard_consumer import ShardConsumer
from clew_projections.state.current import CurrentState, StateFromLog
from clew_services.api_keys import Keys
from clew_services.api_keys.follower import follow_keys
from clew_services.api_keys.key_bucket import KeyBucket
from clew_services.checkpoints.checkpoint_answers import CheckpointQueries
from clew_services.checkpoints.ledger import Ledger
from clew_services.checkpoints.thread_proofs import Proofs
from clew_services.checkpoints.verification import RecordVerifier, compose_verifier
from clew_services.erasure.eraser import Budget, Eraser
from clew_services.erasure.erasure_answers import ErasureQueries
from clew_services.erasure.evidence import StoredEvidence
from clew_services.erasure.records import ErasureRecords
from clew_services.erasure.worker import ErasureParts
from clew_services.eventstore.append import Log
from clew_services.eventstore.topology import LEASES
from clew_services.nats_connection import Connection, connection
from clew_services.observer import NOBODY, Observer
from clew_services.open_deployment import OpenDeployment, open_deployment
from clew_services.packs.exporter import Exporter
from clew_services.queries.history_pages import HistoryPages
from clew_services.queries.lists import Lists
from clew_services.queries.past import Past
from clew_services.queries.reader import Reader
from clew_services.rebuild.bucket_rebuild import Progress, Rebuild
from clew_services.rebuild.kept_generations import KeptGenerations
from clew_services.rebuild.view_renewal import ViewRenewal
from clew_services.retention.due_threads import DueThreads
from clew_services.retention.look_book import LookBook
from clew_services.retention.retention_worker import RetentionParts
from clew_services.tenant_list import TenantList, Tenants
from clew_services.threads.cache import Memory
from clew_services.threads.forks import Forks
from clew_services.threads.handler import Commands, Handler
from clew_services.threads.idempotency import Repeats
from clew_services.threads.limits import DEFAULT, Limits
from clew_services.tracing import UNTRACED, Tracing

__all__ = ["Clew", "Connection", "connect", "connection"]


class Clew:
    """The parts of an open deployment, each made when it is first asked for.

    Held by what composes: a role of a process, a command of the command line, a test. Everything else is given the
    parts that it uses.
    """

    def __init__(
        self,
        opened: OpenDeployment,
        record: StoredRecord,
        limits: Limits = DEFAULT,
        observer: Observer = NOBODY,
        *,
        may_erase: bool = True,
        tracing: Tracing = UNTRACED,
        fold: int = FOLD,
    ) -> None:
        """``record`` is that of the generations; ``fold`` is the number of this process's fold.

        ``may_erase`` unless nobody has said whether JetStream overwrites what is erased.
        """
        self.opened = opened
        self.connection = opened.connection
        self.nc = opened.nc
        self.js = opened.js
        self.deployment = opened.layout
        self.observer = observer
        self.tracing = tracing
        self.fold = fold
        self.index: CurrentIndex | None = None
        """The index of threads that this process asks, if it has a folder for one; see :meth:`open_index`."""
        self.memory = Memory()
        self.histories = opened.histories()
        self.generations = Generations(
            self.js,
            self.histories,
            record,
            shards=opened.shards,
            replicated=opened.replicated,
            fold=fold,
            connection=self._connection,
            forget=self.memory.clear,
        )
        self.live = self.generations.live
        self.current = CurrentState(self.live, StateFromLog(self.histories), self.live.request_refresh)
        self.js.pending.noted.append(self._forget)
        self._limits = limits
        self._may_erase = may_erase

    def _forget(self, address: Address) -> None:
        self.memory.forget(address)
        self.current.forget(address)

    async def close(self) -> None:
        """Close the parts with open files or tasks, if they were made."""
        if "proofs" in self.__dict__:
            await self.proofs.close()
        if self.index is not None:
            await self.index.close()

    # Writing

    @cached_property
    def log(self) -> Log:
        """The log, for appending."""
        return Log(self.js, self.opened.shards, replicated=self.opened.replicated, observer=self.observer)

    @cached_property
    def handler(self) -> Commands:
        """The command handler."""
        handler = Handler(
            self.tracing.append(self.log.append),
            self.current,
            self.histories,
            Repeats(self.current, self.histories),
            self.memory,
            tenants=self.tenant_histories,
            impacts=self.lists,
            erasures=self.erasure_records,
            forks=self.forks,
            limits=self._limits,
            may_erase=self._may_erase,
            max_payload=lambda: min(self.nc.max_payload, self.deployment.max_msg_size),
            observer=self.observer,
        )
        return self.tracing.handler(handler)

    @cached_property
    def erasure_records(self) -> ErasureRecords:
        """The records of erasures."""
        return ErasureRecords(self.js, self.js.pending)

    @cached_property
    def forks(self) -> Forks:
        """The reader of forks and their parents."""
        return Forks(self.current, self.histories, self.tenant_histories, self.erasure_records)

    # Reading

    @cached_property
    def trail(self) -> HistoryReader:
        """The reader of stretches of histories."""
        return HistoryReader(self.js, self.histories)

    @cached_property
    def tenant_histories(self) -> TenantHistories:
        """The reader of what tenants have ordered."""
        return TenantHistories(self.js, self.histories)

    @cached_property
    def feed(self) -> Feed:
        """All commits of a tenant in one order."""
        return Feed(self.js, self.opened.shards, self._page_bytes)

    @cached_property
    def tail(self) -> Tail:
        """The live end of the feed."""
        tail = Tail(self.nc, self.js, self.opened.shards)
        self.connection.reconnected.append(tail.request_check)
        return tail

    @cached_property
    def lists(self) -> Lists:
        """The lists of threads, once there is an index."""
        return Lists(self.opened.shards, self.tenant_histories, page_bytes=self._page_bytes)

    @cached_property
    def ledger(self) -> Ledger:
        """The signed checkpoints."""
        return Ledger(self.js)

    @cached_property
    def proofs(self) -> Proofs:
        """The inclusion proofs of threads."""
        return Proofs(self.js, self.opened.shards, self.ledger)

    @cached_property
    def checkpoints(self) -> CheckpointQueries:
        """Queries for checkpoints and proofs."""
        return CheckpointQueries(self.ledger, self.proofs)

    @cached_property
    def erasures(self) -> ErasureQueries:
        """Queries for erasures."""
        return ErasureQueries(self.erasure_records)

    @cached_property
    def reader(self) -> Reader:
        """The reader, which answers queries."""
        return Reader(
            self.current,
            self.histories,
            self.memory,
            pages=HistoryPages(self.trail, self.current, self.memory, self._page_bytes),
            past=Past(self.trail, self.current, self.memory, page_bytes=self._page_bytes),
            feeds=self.feed,
            lists=self.lists,
            checkpoints=self.checkpoints,
            erasures=self.erasures,
            page_bytes=self._page_bytes,
        )

    def _page_bytes(self) -> int:
        """Return the most bytes of the items of a page: it is answered in one message."""
        return min(PAGE_BYTES, self.nc.max_payload - AROUND)

    @cached_property
    def keys(self) -> KeyBucket:
        """The bucket of issued API keys."""
        return KeyBucket(self.js)

    @cached_property
    def tenant_list(self) -> TenantList:
        """The stored list of tenants."""
        return TenantList(self.js)

    @cached_property
    def tenants(self) -> Tenants:
        """The tenants that exist, as far as this process follows the list; see :meth:`follow_tenants`."""
        return Tenants(self.tenant_list)

    @cached_property
    def exporter(self) -> Exporter:
        """The exporter of audit packs."""
        return Exporter(self.js, self.ledger, self.deployment)

    # Projecting

    def projector(self, shard: int, generation: GenerationBuckets | None = None) -> Projector:
        """A projector of one shard, into the live generation or another. Any number may run, here and elsewhere."""
        generation = generation or self.live.current
        return Projector(
            ShardConsumer(self.nc, event_stream(shard), generation.consumer, self.js.pending),
            self._batch_projection(generation),
            generation.threads,
            self.generations.position(shard, generation),
            self._connection,
            removed=partial(self.live.is_removed, generation),
            projected=self.observer.shard(shard),
            trace=self.tracing.projection,
        )

    def projectors(self, generation: GenerationBuckets) -> list[Projector]:
        """A projector of each shard, into one generation."""
        return [self.projector(shard, generation) for shard in range(self.opened.shards)]

    async def project(self, stop: asyncio.Event) -> None:
        """Project every shard into the live generation, through switches, until ``stop`` is set."""
        await project_live(self.live, self.projectors, stop)

    def _batch_projection(self, generation: GenerationBuckets) -> BatchProjection:
        return BatchProjection(generation.threads, generation.spent, self.histories)

    def rebuild(self, tell: Callable[[Progress], None] = lambda _: None) -> Rebuild:
        """A rebuild of the buckets; ``tell`` is called with its progress."""
        return Rebuild(self.opened, self.generations, self.projectors, self.prover, tell)

    @cached_property
    def kept(self) -> KeptGenerations:
        """The existing generations."""
        return KeptGenerations(self.opened, self.generations)

    def renewal(self) -> ViewRenewal:
        """A renewal of the buckets, after which nothing is left in them that the log does not hold any more."""
        return ViewRenewal(self.opened, self.generations, self.kept, self.rebuild)

    # Erasing

    @cached_property
    def erasure_parts(self) -> ErasureParts:
        """What the worker that carries out erasures uses."""
        return ErasureParts(
            js=self.connection.js,
            records=self.erasure_records,
            histories=self.histories,
            eraser=Eraser(self.connection.js, Budget()),
            machines=self.machines,
            snapshots=self.snapshots,
            renewal=self.renewal(),
            commands=self.handler,
            replicated=self.opened.replicated,
        )

    # Retention

    @cached_property
    def retention_parts(self) -> RetentionParts:
        """What the worker uses that removes threads when their time is over."""
        return RetentionParts(
            js=self.js,
            shards=self.opened.shards,
            book=LookBook(self.js, self.opened.shards),
            histories=self.histories,
            tenants=self.tenant_histories,
            suspects=self.lists,
            due=DueThreads(self.lists, self.current, self.tenant_histories),
            records=self.erasure_records,
            commands=self.handler,
        )

    # Checking

    def record_verifier(self, index: Path | None = None) -> RecordVerifier:
        """The verifier of the log: its chains, checkpoints, the views of the live generation, and an index file."""
        return compose_verifier(self.opened, self.live.current.threads, StoredEvidence(self.js, {}), index)

    def prover(self, generation: GenerationBuckets | None = None, index: Path | None = None) -> Prover:
        """The prover, which compares a generation, by default the live one, and an index with the log."""
        generation = generation or self.live.current
        indexed = IndexCheck(self.js, IndexProof(index, self.histories), self.histories) if index is not None else None
        comparing, replicated = self._view_check(generation), self.opened.replicated
        sweep = Sweep(self.js, generation.threads, comparing, replicated=replicated, indexed=indexed)
        strays = Strays(self.js, self.histories, generation.threads)
        return Prover(self.js, self.opened.shards, comparing, sweep, strays=strays, indexed=indexed)

    def repairer(self) -> Repairer:
        """The repairer, which rewrites views of the live generation that differ from the log."""
        generation = self.live.current
        return Repairer(
            generation.threads,
            self.histories,
            self._view_check(generation),
            self._batch_projection(generation),
        )

    def watch(self, rate: float) -> Watch:
        """The continuous proof of the live generation, ``rate`` threads a second."""
        return Watch(self.js, self.opened.shards, self.live, self._view_check, rate)

    def _view_check(self, generation: GenerationBuckets) -> ViewCheck:
        return ViewCheck(generation.threads, self.histories)

    # The index

    def index_in(self, root: Path) -> IndexFolder:
        """The folder of this deployment's index, below ``root``, the folder of all indexes of this machine."""
        return IndexFolder(root, self.deployment.identity)

    def open_index(self, root: Path) -> None:
        """Use the index of this machine, which some process must keep current: see :meth:`indexer`."""
        self.index = self.lists.index = CurrentIndex(self.index_in(root))

    def indexer(self, root: Path, *, dedicated: bool, due: SnapshotSchedule | None = None) -> Indexer:
        """The indexer of this machine; ``dedicated`` in a process that has no other role."""
        folder = self.index_in(root)
        start = Start(self.js, self.histories, folder, self.snapshots)
        return Indexer(
            folder,
            start,
            self._readers,
            self.snapshots,
            self._connection,
            machines=self.machines,
            dedicated=dedicated,
            due=due,
        )

    @cached_property
    def snapshots(self) -> Snapshots:
        """The snapshots of the index."""
        return Snapshots(self.nc, self.js, self.deployment.identity)

    @cached_property
    def machines(self) -> Machines:
        """The machines with an index of this deployment."""
        return Machines(self.js, Bucket(self.js, LEASES))

    def index_watch(self, root: Path, rate: float, indexer: Indexer) -> IndexWatch:
        """The continuous proof of this machine's index, ``rate`` threads a second, while ``indexer`` is active."""
        return IndexWatch(self.index_in(root), self.histories, rate, lambda: indexer.is_active)

    def index_rebuild(self, root: Path, tell: Callable[[IndexProgress], None]) -> IndexRebuild:
        """A rebuild of this machine's index; ``tell`` is called with its progress."""
        return IndexRebuild(self.js, self.histories, self.index_in(root), self._readers, tell)

    def _readers(self) -> list[OrderedShard]:
        shards = self.opened.shards
        return [OrderedShard(self.js, shard, shards) for shard in range(shards)]

    def follow_keys(self, keys: Keys) -> AbstractAsyncContextManager[None]:
        """Keep ``keys`` up to date with the bucket of keys, for the duration of the block."""
        return follow_keys(self.nc, self.keys, keys, self.connection.reconnected)

    def follow_tenants(self) -> AbstractAsyncContextManager[None]:
        """Keep :attr:`tenants` at what the list says, for as long as the block lasts."""
        return self.tenants.follow(self.nc, self.connection.reconnected)

    def _connection(self) -> int:
        return self.connection.made


@asynccontextmanager
async def connect(
    url: str,
    *,
    name: str,
    patience: float = 10.0,
    limits: Limits = DEFAULT,
    may_erase: bool = True,
    inbox_prefix: str = INBOX_PREFIX,
    security: NatsSecurity = UNSECURED,
    observer: Observer = NOBODY,
    tracing: Tracing = UNTRACED,
    fold: int = FOLD,
) -> AsyncIterator[Clew]:
    """Open a deployment, verify its streams, and compose its parts.

    ``observer`` is told what happens in it, and ``tracing`` follows it.

    Raises:
        Unavailable: NATS does not answer, or has no deployment: ``clew init`` was not run.
        Corrupt: a stream is not as it must be; see :mod:`clew_services.eventstore.provision`.
    """
    async with open_deployment(
        url, name=name, patience=patience, inbox_prefix=inbox_prefix, security=security
    ) as opened:
        record = await Alias(opened.js).read_record()
        clew = Clew(opened, record, limits, observer, may_erase=may_erase, tracing=tracing, fold=fold)
        async with watch_alias(opened.nc, clew.live, opened.connection.reconnected):
            try:
                yield clew
            finally:
                await clew.close()
