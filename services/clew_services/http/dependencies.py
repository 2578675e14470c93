"""What the HTTP API needs of the rest of Clew."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from clew_events.audit_replies import Blame, Difference, Then
from clew_events.commands import Command
from clew_events.list_query import ListThreads
from clew_events.nats_client import LastingClient
from clew_events.queries import (
    GetBlame,
    GetDifference,
    GetFeed,
    GetHistory,
    GetMessage,
    GetMessageAt,
    GetStateAt,
    GetThread,
    ListMessages,
    ListMessagesAt,
)
from clew_events.replies import Feed, Found, History, Moment
from clew_projections.feed import Feed as Feeds
from clew_projections.feed.live_end import Tail
from clew_projections.index import WrittenList
from clew_projections.projector.parked_threads import ParkedThread
from clew_services.eventstore.write_probe import Publisher
from clew_services.http.routes.checkpoints import CheckpointAnswers
from clew_services.integrity.integrity_report import Report
from clew_services.observer import Observer
from clew_services.packs.exporter import Exporter
from clew_services.progress import Api
from clew_services.threads.result import Outcome
from clew_services.tracing import Tracing


class Commands(Protocol):
    """Carries commands out; see :class:`clew_services.threads.handler.Handler`."""

    async def handle(
        self, tenant: str, command: Command, *, actor: str = "unknown", trace: str | None = None
    ) -> Outcome:
        """Carry a command out, once, and answer with what came of it."""


class Queries(Protocol):
    """Answers queries; see :class:`clew_services.queries.reader.Reader`."""

    async def thread(self, tenant: str, query: GetThread) -> Found:
        """A thread as it is."""

    async def threads(self, tenant: str, query: ListThreads) -> WrittenList:
        """A page of a tenant's threads."""

    async def message(self, tenant: str, query: GetMessage) -> Found:
        """One message as it is."""

    async def messages(self, tenant: str, query: ListMessages) -> Found:
        """A page of messages."""

    async def history(self, tenant: str, query: GetHistory) -> History:
        """A page of a thread's commits."""

    async def feed(self, tenant: str, query: GetFeed) -> Feed:
        """A page of all of a tenant's commits."""

    async def state_at(self, tenant: str, query: GetStateAt) -> Moment:
        """A thread as it was."""

    @property
    def past(self) -> PastQueries:
        """What answers questions about one thread's past."""


class PastQueries(Protocol):
    """Answers questions about one thread's past; see :class:`clew_services.queries.past.Past`."""

    async def message(self, tenant: str, query: GetMessageAt) -> Then:
        """One message as it was."""

    async def messages(self, tenant: str, query: ListMessagesAt) -> Then:
        """A page of messages as they were."""

    async def difference(self, tenant: str, query: GetDifference) -> Difference:
        """What changed between two moments."""

    async def blame(self, tenant: str, query: GetBlame) -> Blame:
        """Who last set each part of a thread."""


class JetStream(Api, Publisher, Protocol):
    """JetStream, as far as it is asked how it is."""


class Shards(Protocol):
    """How the deployment is laid out."""

    @property
    def shards(self) -> int:
        """Into how many streams the log is divided."""


class Parts(Protocol):
    """A composed Clew; see :class:`clew_services.compose.Clew`."""

    @property
    def handler(self) -> Commands:
        """What carries commands out."""

    @property
    def reader(self) -> Queries:
        """What answers queries."""

    @property
    def feed(self) -> Feeds:
        """The whole log."""

    @property
    def tail(self) -> Tail:
        """The live end of it."""

    @property
    def checkpoints(self) -> CheckpointAnswers:
        """What answers about signed checkpoints, and proves by them."""

    @property
    def exporter(self) -> Exporter:
        """What makes audit packs."""

    @property
    @property
    def nc(self) -> LastingClient:
        """The connection to NATS."""

    @property
    def js(self) -> JetStream:
        """JetStream, for asking how it is."""

    @property
    def full_shards(self) -> Sequence[int]:
        """The shards of the log that were found not to store anything, by this process and not long ago."""

    async def list_parked(self) -> Sequence[ParkedThread]:
        """The threads that stand still because their history cannot be folded."""

    async def integrity(self) -> Report | None:
        """What is known of the log's integrity."""

    @property
    def tracing(self) -> Tracing:
        """How it is traced."""

    @property
    def observer(self) -> Observer:
        """Who is told what happens."""

    @property
    def deployment(self) -> Shards:
        """How the log is laid out."""

    @property
    def feeder(self) -> str:
        """The name of the consumers that feed the live buckets."""
