"""What a command of the command line works with: a client, or a composed deployment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from clew_events import client
from clew_projections.history.histories import Histories
from clew_projections.nats.request_mux import NotPermitted
from clew_services.cli.interrupt import run
from clew_services.cli.logs import hush
from clew_services.cli.options import reply_prefix
from clew_services.open_deployment import OpenDeployment, open_deployment
from clew_services.queries.reader import Reader
from clew_services.settings import Settings

if TYPE_CHECKING:
    from clew_services.compose import Clew

PATIENCE: Final = 5.0
"""Seconds that somebody at a terminal waits for an answer before being told that there is none."""

_WAY_OUT: Final = (
    "'clew up' keeps a URL with the password of its server in its data folder: name that with --data or CLEW_DATA, "
    "and leave --nats away. With a server of your own, put user and password of its operator into the URL"
)

T = TypeVar("T")
D = TypeVar("D")
D_co = TypeVar("D_co", covariant=True)


class Connect(Protocol[D_co]):
    """Opens a deployment, as it is or with the parts made of it."""

    def __call__(self, url: str, *, name: str, patience: float, inbox_prefix: str) -> AbstractAsyncContextManager[D_co]:
        """A deployment, for as long as the block lasts."""


class Source(Protocol):
    """What can be asked about threads and their past: a deployment, or a pack in a file."""

    @property
    def reader(self) -> Reader:
        """What answers queries."""

    @property
    def histories(self) -> Histories:
        """What reads threads' commits."""


def ask(nats: str, tenant: str, question: Callable[[client.Clew], Awaitable[T]], *, actor: str | None = None) -> T:
    """Ask the services that listen on NATS, and nothing else of the deployment."""
    prefix = reply_prefix()

    async def asked() -> T:
        url = Settings(nats=nats).nats_url
        async with client.connect(url, tenant=tenant, actor=actor, timeout=PATIENCE, inbox_prefix=prefix) as clew:
            return await question(clew)

    hush()
    return run(asked())


def look(nats: str, question: Callable[[OpenDeployment], Awaitable[T]]) -> T:
    """Look at the deployment itself, which works with no service running."""
    return _open(nats, open_deployment, question)


def use_parts(nats: str, question: Callable[[Clew], Awaitable[T]]) -> T:
    """Work with parts of a deployment, which works with no service running; ``question`` picks those that it needs."""
    from clew_services.compose import connect  # noqa: PLC0415 - takes long to import, and few commands need it

    return _open(nats, connect, question)


def _open(nats: str, connect: Connect[D], question: Callable[[D], Awaitable[T]]) -> T:
    prefix = reply_prefix()

    async def opened() -> T:
        url = Settings(nats=nats).nats_url
        try:
            async with connect(url, name="clew-cli", patience=PATIENCE, inbox_prefix=prefix) as deployment:
                return await question(deployment)
        except NotPermitted as fault:
            raise NotPermitted(f"{fault.message}. {_WAY_OUT}") from fault

    hush()
    return run(opened())


def consult(nats: str, pack: Path | None, question: Callable[[Source], Awaitable[T]]) -> T:
    """Ask a pack, if there is one, with no server in reach; otherwise the deployment itself."""
    if pack is None:
        return use_parts(nats, question)
    from clew_projections.packs.pack import Pack  # noqa: PLC0415 - only asked for now and then
    from clew_services.packs.offline import Offline  # noqa: PLC0415

    async def consulted() -> T:
        return await question(Offline(Pack(pack)))

    hush()
    return run(consulted())
