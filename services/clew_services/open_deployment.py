"""An open deployment: a connection to its NATS servers, and its layout."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from msgspec import Struct

from clew_events.connection import INBOX_PREFIX
from clew_events.nats_security import UNSECURED, NatsSecurity
from clew_projections.history.histories import Histories
from clew_projections.history.log_reads import LogReads
from clew_projections.nats.lean_client import LeanClient
from clew_services.eventstore import provision
from clew_services.eventstore.provision import Deployment
from clew_services.nats_connection import Connection, connection


class OpenDeployment(Struct, frozen=True):
    """A connection, and the layout of the deployment at its other end, which was verified.

    ``js`` is JetStream over the connection, and its reads of the log are whole; those of ``connection.js`` lack the
    commits that lost contents.
    """

    connection: Connection
    layout: Deployment
    js: LogReads

    @property
    def nc(self) -> LeanClient:
        """The NATS client."""
        return self.connection.nc

    @property
    def shards(self) -> int:
        """The number of streams that the log is divided into."""
        return self.layout.shards

    @property
    def replicated(self) -> bool:
        """Whether streams have more than one replica."""
        return self.layout.replicas > 1

    def histories(self) -> Histories:
        """A reader of threads' commits."""
        return Histories(self.js, self.shards, replicated=self.replicated)


@asynccontextmanager
async def open_deployment(
    url: str,
    *,
    name: str,
    patience: float = 10.0,
    inbox_prefix: str = INBOX_PREFIX,
    security: NatsSecurity = UNSECURED,
) -> AsyncIterator[OpenDeployment]:
    """Connect to a deployment and verify its streams; closed at the end of the block.

    ``name`` is what operators of NATS see, ``patience`` is in seconds, and replies come to subjects that begin with
    ``inbox_prefix``.

    Raises:
        Unavailable: NATS does not answer, or has no deployment: ``clew init`` was not run.
        Corrupt: a stream is not as it must be; see :mod:`clew_services.eventstore.provision`.
    """
    async with connection(url, name=name, patience=patience, inbox_prefix=inbox_prefix, security=security) as made:
        layout = await provision.verify(made.js)
        js = LogReads(made.exchange, replicated=layout.replicas > 1)
        async with js.pending.watch(made.nc, made.reconnected):
            yield OpenDeployment(made, layout, js)
