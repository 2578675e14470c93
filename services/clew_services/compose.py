"""The one composition root: everything is put together here, and takes its collaborators as arguments elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

from clew_events.subjects import event_stream
from clew_projections.consistency.index_check import IndexCheck, IndexProof
from clew_projections.consistency.index_watch import IndexWatch
from clew_projections.consistency.prove import Prover
from clew_projections.consistency.repair import Repairer
from clew_projections.consistency.stray_views import Strays
from clew_projections.consistency.sweep import Sweep
from clew_projections.consistency.view_check import ViewCheck
from clew_projections.consistency.watch import Watch
from clew_projections.consistency.witnesses import Witnesses
from clew_projections.feed import Feed
from clew_projections.feed.live_end import Tail
from clew_projections.fold import FOLD
from clew_projections.generations.alias import Alias, StoredRecord
from clew_projections.generations.alias_watch import watch_alias as following_generations
from clew_projections.generations.generation import GenerationBuckets, LiveGeneration
from clew_projections.generations.project import project_live
from clew_projections.generations.record import Generation
from clew_projections.history.histories import Histories
from clew_projections.history.stretch import HistoryReader
from clew_projections.index.index import CurrentIndex
from clew_projections.index.index_folder import IndexFolder
from clew_projections.indexer.index_rebuild import IndexProgress, IndexRebuild
from clew_projections.indexer.indexer import Indexer, SnapshotSchedule
from clew_projections.indexer.shard_order import OrderedShard
from clew_projections.indexer.snapshots import Snapshots
from clew_projections.indexer.start import Start
from clew_projections.integrity.verify import Verifier
from clew_projections.kv.bucket import Bucket
from clew_projections.kv.command_ids import SpentIds
from clew_projections.kv.lost_views import Doubts
from clew_projections.kv.position import PositionStore
from clew_projections.projector.batch import BatchProjection
from clew_projections.projector.message_views import MessageViews
from clew_projections.projector.parked_threads import ParkedThread, list_parked
from clew_projections.projector.projector import Projector
from clew_projections.projector.shard_consumer import ShardConsumer
from clew_projections.state.current import CurrentState, StateFromLog
from clew_services.api_keys import Keys
from clew_services.api_keys.follower import follow_keys
from clew_services.api_keys.key_bucket import KeyBucket
from clew_services.checkpoints.checkpoint_answers import CheckpointQueries
from clew_services.checkpoints.comparison import Comparison
from clew_services.checkpoints.ledger import Ledger
from clew_services.checkpoints.thread_proofs import Proofs
from clew_services.checkpoints.verification import RecordVerifier
from clew_services.eventstore import provision
from clew_services.eventstore.append import Log
from clew_services.eventstore.provision import Deployment
from clew_services.integrity.background_audit import Audit
from clew_services.integrity.integrity_report import Report, report
from clew_services.nats_connection import INBOX_PREFIX, Connection, connection
from clew_services.observer import NOBODY, Observer
from clew_services.packs.exporter import Exporter
from clew_services.queries.history_pages import HistoryPages
from clew_services.queries.lists import Lists
from clew_services.queries.past import Past
from clew_services.queries.reader import Reader
from clew_services.threads.cache import Memory
from clew_services.threads.handler import Handler
from clew_services.threads.idempotency import Repeats
from clew_services.threads.limits import DEFAULT, Limits
from clew_services.tracing import UNTRACED, Tracing

__all__ = ["Clew", "Connection", "connect", "connection"]


class Clew:
    """A verified deployment and what can be done with it."""

    def __init__(
        self,
        connection: Connection,
        deployment: Deployment,
        generations: StoredRecord,
        limits: Limits = DEFAULT,
        observer: Observer = NOBODY,
        *,
        tracing: Tracing = UNTRACED,
        fold: int = FOLD,
    ) -> None:
        """``fold`` is the number of the fold that this process makes and reads views with."""
        js = connection.js
        self.connection = connection
        self.nc = connection.nc
        self.js = js
        self.deployment = deployment
        self.observer = observer
        self.tracing = tracing
        self.fold = fold
        self.histories = Histories(js, deployment.shards, replicated=deployment.replicas > 1)
        self.memory = Memory()
        self.live = LiveGeneration(Alias(js), generations, self.side, self.memory.clear)
        self.current = CurrentState(lambda: self.live.side.reading, StateFromLog(self.histories), self.live.doubt)
        repeats = Repeats(self.current, self.histories)
        self._log = Log(js, deployment.shards, replicated=deployment.replicas > 1, observer=observer)
        self.handler = tracing.handler(
            Handler(
                tracing.append(self._log.append),
                self.current,
                self.histories,
                repeats,
                self.memory,
                limits=limits,
                max_payload=lambda: min(self.nc.max_payload, deployment.max_msg_size),
                observer=observer,
            )
        )
        self.trail = HistoryReader(js, self.histories)
        self.feed = Feed(js, deployment.shards)
        self.tail = Tail(self.nc, js, deployment.shards)
        connection.reconnected.append(self.tail.doubt)
        pages = HistoryPages(self.trail, self.current, self.memory)
        past = Past(self.trail, self.current, self.memory)
        self.lists = Lists(deployment.shards)
        self.ledger = Ledger(js)
        self.proofs = Proofs(js, deployment.shards, self.ledger)
        self.checkpoints = CheckpointQueries(self.ledger, self.proofs)
        self.reader = Reader(
            self.current,
            self.histories,
            self.memory,
            pages=pages,
            past=past,
            feeds=self.feed,
            lists=self.lists,
            checkpoints=self.checkpoints,
        )
        self.keys = KeyBucket(js)
        self.exporter = Exporter(js, self.ledger, deployment)
        self.index: CurrentIndex | None = None
        """The index of threads that this process asks, if it has a folder for one; see :meth:`open_index`."""

    @property
    def threads(self) -> Bucket:
        """The live bucket of threads."""
        return self.live.side.threads

    @property
    def messages(self) -> Bucket:
        """The live bucket of messages."""
        return self.live.side.messages

    @property
    def commands(self) -> Bucket:
        """The live bucket of command ids."""
        return self.live.side.commands

    @property
    def spent(self) -> SpentIds:
        """The command ids that are kept in the live buckets."""
        return self.live.side.spent

    @property
    def feeder(self) -> str:
        """The name of the consumers that feed the live buckets."""
        return self.live.side.consumer

    @property
    def doubts(self) -> Doubts:
        """What is in doubt of the live buckets."""
        return self.live.side.doubts

    @property
    def full_shards(self) -> tuple[int, ...]:
        """The shards of the log that were found not to store anything, by this process and not long ago."""
        return self._log.full

    def checkpoint(self, shard: int, side: GenerationBuckets | None = None) -> PositionStore:
        """The checkpoint of a shard on the live side or another, and with it how far its projection is."""
        side = side or self.live.side
        stream = event_stream(shard)
        return PositionStore(self.js, stream, side.consumer, side.buckets, shard, connection=self._connection)

    def projector(self, shard: int, side: GenerationBuckets | None = None) -> Projector:
        """A projector of one shard, for the live side or another. Any number of them may run, here and elsewhere."""
        side = side or self.live.side
        return Projector(
            ShardConsumer(self.nc, event_stream(shard), side.consumer),
            self._batch_projection(side),
            side.threads,
            self.checkpoint(shard, side),
            self._connection,
            projected=self.observer.shard(shard),
            trace=self.tracing.projection,
        )

    async def list_parked(self) -> Sequence[ParkedThread]:
        """The threads that stand still because their history cannot be folded."""
        return await list_parked(self.threads)

    def projectors(self, side: GenerationBuckets) -> list[Projector]:
        """A projector of each shard, for one side."""
        return [self.projector(shard, side) for shard in range(self.deployment.shards)]

    def side(self, generation: Generation) -> GenerationBuckets:
        """A generation as this process would use it, live or not."""
        replicated = self.deployment.replicas > 1
        return GenerationBuckets(
            self.js, generation, self.histories, self._connection, fold=self.fold, replicated=replicated
        )

    def verifier(self) -> Verifier:
        """Walks the chains of the log."""
        return Verifier(self.js, self.deployment.shards)

    def comparison(self) -> Comparison:
        """Holds the log against checkpoints."""
        return Comparison(self.js, self.ledger, self.verifier(), self.deployment.shards)

    def record_verifier(self, index: Path | None = None) -> RecordVerifier:
        """Verifies the log by its chains, by checkpoints, by the views of the live side, and by a file of an index."""
        shards, proof = self.deployment.shards, IndexProof(index, self.histories) if index is not None else None
        witnesses = Witnesses(self.threads, shards, proof)
        return RecordVerifier(self.js, shards, self.verifier(), self.comparison(), witnesses)

    def prover(self, side: GenerationBuckets | None = None, index: Path | None = None) -> Prover:
        """Compares the buckets of the live side, or of another, with the log; and a file that is an index."""
        side = side or self.live.side
        indexed = IndexCheck(self.js, IndexProof(index, self.histories), self.histories) if index is not None else None
        comparing, replicated = self._view_check(side), self.deployment.replicas > 1
        sweep = Sweep(self.js, side.threads, side.messages, comparing, replicated=replicated, indexed=indexed)
        strays = Strays(self.js, self.histories, side.threads, side.messages)
        return Prover(self.js, self.deployment.shards, comparing, sweep, strays=strays, indexed=indexed)

    def repairer(self) -> Repairer:
        """Writes views of the live side anew that differ from the log."""
        side = self.live.side
        return Repairer(
            side.threads, side.messages, self.histories, self._view_check(side), self._batch_projection(side)
        )

    def audit(self, every: float, file: Path | None = None) -> Audit:
        """Verifies the log for ever, a pass every so many seconds at most; heads are kept in ``file``."""
        return Audit(self.js, self.ledger, self.verifier(), self.deployment.shards, every=every, file=file)

    async def integrity(self) -> Report | None:
        """What is known of the log's integrity; nothing where nobody has verified it yet."""
        return await report(self.js)

    def watch(self, rate: float) -> Watch:
        """Proves the live side for ever, at so many threads a second."""
        return Watch(self.js, self.deployment.shards, self.live, self._view_check, rate)

    def _view_check(self, side: GenerationBuckets) -> ViewCheck:
        return ViewCheck(side.threads, side.messages, self.histories, side.doubts)

    def _batch_projection(self, side: GenerationBuckets) -> BatchProjection:
        messages = MessageViews(side.messages, self.histories)
        return BatchProjection(side.threads, messages, side.spent, self.histories, side.doubts)

    def index_in(self, root: Path) -> IndexFolder:
        """Where this machine keeps its index of this deployment, in the folder of all indexes."""
        return IndexFolder(root, self.deployment.identity)

    def open_index(self, root: Path) -> None:
        """Ask the index that this machine keeps, which some process has to feed: see :meth:`index_feeder`."""
        self.index = self.lists.index = CurrentIndex(self.index_in(root))

    def index_feeder(self, root: Path, *, dedicated: bool, due: SnapshotSchedule | None = None) -> Indexer:
        """Feeds the index that this machine keeps; ``dedicated`` if that is this process's business."""
        folder = self.index_in(root)
        snapshots = Snapshots(self.nc, self.js, self.deployment.identity)
        start = Start(self.js, self.histories, folder, snapshots)
        return Indexer(folder, start, self._readers, snapshots, self._connection, dedicated=dedicated, due=due)

    def index_watch(self, root: Path, rate: float, feeder: Indexer) -> IndexWatch:
        """Proves this machine's index for ever, at so many threads a second, while a feeder feeds it."""
        return IndexWatch(self.index_in(root), self.histories, rate, lambda: feeder.feeding)

    def index_rebuild(self, root: Path, tell: Callable[[IndexProgress], None]) -> IndexRebuild:
        """Builds this machine's index anew, beside; ``tell`` hears how far it is."""
        return IndexRebuild(self.js, self.histories, self.index_in(root), self._readers, tell)

    def _readers(self) -> list[OrderedShard]:
        shards = self.deployment.shards
        return [OrderedShard(self.js, shard, shards) for shard in range(shards)]

    def following(self, keys: Keys) -> AbstractAsyncContextManager[None]:
        """Keep ``keys`` at what the bucket of keys says, for as long as the block lasts."""
        return follow_keys(self.nc, self.keys, keys, self.connection.reconnected)

    def _connection(self) -> int:
        return self.connection.made

    async def project(self, stop: asyncio.Event) -> None:
        """Project every shard into the live side, whichever that is, until ``stop`` is set."""
        await project_live(self.live, self.projectors, stop)


@asynccontextmanager
async def connect(
    url: str,
    *,
    name: str,
    patience: float = 10.0,
    limits: Limits = DEFAULT,
    inbox_prefix: str = INBOX_PREFIX,
    observer: Observer = NOBODY,
    tracing: Tracing = UNTRACED,
    fold: int = FOLD,
) -> AsyncIterator[Clew]:
    """A deployment, verified and ready to use, within limits of the operator's choice.

    ``observer`` is told what happens in it, and ``tracing`` follows it.

    Raises:
        Unavailable: NATS does not answer, or nobody has run ``clew init`` there.
        Corrupt: a stream is not as it must be; see :mod:`clew_services.eventstore.provision`.
    """
    async with connection(url, name=name, patience=patience, inbox_prefix=inbox_prefix) as made:
        deployment = await provision.verify(made.js)
        clew = Clew(made, deployment, await Alias(made.js).read_record(), limits, observer, tracing=tracing, fold=fold)
        async with following_generations(made.nc, clew.live, made.reconnected):
            try:
                yield clew
            finally:
                await clew.proofs.close()
                if clew.index is not None:
                    await clew.index.close()
