"""What a command connects to: the services (:func:`ask`), or the deployment (:func:`look`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol, TypeVar

from clew_events import client
from clew_events.nats_security import NatsSecurity
from clew_projections.nats.request_mux import NotPermitted
from clew_services.cli.interrupt import run
from clew_services.cli.logs import hush
from clew_services.cli.options import nats_login, reply_prefix
from clew_services.open_deployment import OpenDeployment, open_deployment

PATIENCE: Final = 5.0
"""Timeout of an answer, in seconds."""

_WAY_OUT: Final = (
    "'clew up' keeps a URL with the password of its server in its data folder: name that with --data or CLEW_DATA, "
    "and omit --nats. With a server of your own, put the operator's user and password into the URL"
)

T = TypeVar("T")
D = TypeVar("D")
D_co = TypeVar("D_co", covariant=True)


class Connect(Protocol[D_co]):
    """Opens a deployment, as it is or with the parts made of it."""

    def __call__(
        self, url: str, *, name: str, patience: float, inbox_prefix: str, security: NatsSecurity
    ) -> AbstractAsyncContextManager[D_co]:
        """A deployment, for as long as the block lasts."""


def ask(nats: str, tenant: str, action: Callable[[client.Clew], Awaitable[T]], *, actor: str | None = None) -> T:
    """Run a query or command against the services that listen on NATS; reads nothing else of the deployment."""
    prefix = reply_prefix()
    url, security = nats_login(nats)

    async def run_action() -> T:
        async with client.connect(
            url, tenant=tenant, actor=actor, timeout=PATIENCE, inbox_prefix=prefix, security=security
        ) as clew:
            return await action(clew)

    hush()
    return run(run_action())


def look(nats: str, action: Callable[[OpenDeployment], Awaitable[T]]) -> T:
    """Run an action on the deployment itself; needs no running service.

    Raises:
        NotPermitted: the NATS user may not read the deployment; the message says how to name another.
    """
    return open_and_ask(nats, open_deployment, action)


def open_and_ask(nats: str, connect: Connect[D], action: Callable[[D], Awaitable[T]]) -> T:
    """Run an action on what ``connect`` opens, without logs, until it ends or is interrupted.

    Raises:
        NotPermitted: the NATS user may not read the deployment; the message says how to name another.
    """
    prefix = reply_prefix()
    url, security = nats_login(nats)

    async def run_action() -> T:
        try:
            async with connect(
                url, name="clew-cli", patience=PATIENCE, inbox_prefix=prefix, security=security
            ) as deployment:
                return await action(deployment)
        except NotPermitted as fault:
            raise NotPermitted(f"{fault.message}. {_WAY_OUT}") from fault

    hush()
    return run(run_action())
