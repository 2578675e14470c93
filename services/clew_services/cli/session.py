"""What a command of the command line works with: a client of the services, or an open deployment."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol, TypeVar

from clew_events import client
from clew_projections.nats.request_mux import NotPermitted
from clew_services.cli.interrupt import run
from clew_services.cli.logs import hush
from clew_services.cli.options import reply_prefix
from clew_services.open_deployment import OpenDeployment, open_deployment
from clew_services.settings import Settings

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
    return open_and_ask(nats, open_deployment, question)


def open_and_ask(nats: str, connect: Connect[D], question: Callable[[D], Awaitable[T]]) -> T:
    """Ask what ``connect`` opens, as a program at a terminal does: quietly, and until it is interrupted."""
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
