"""What a command connects to: the services (:func:`ask`), the deployment (:func:`look`), or a pack."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, Protocol, TypeVar

from clew_events import client
from clew_projections.history.histories import Histories
from clew_projections.nats.request_mux import NotPermitted
from clew_services import compose
from clew_services.cli.interrupt import run
from clew_services.cli.logs import hush
from clew_services.cli.options import reply_prefix
from clew_services.queries.reader import Reader
from clew_services.settings import Settings

PATIENCE: Final = 5.0
"""Timeout of an answer, in seconds."""

_WAY_OUT: Final = (
    "'clew up' keeps a URL with the password of its server in its data folder: name that with --data or CLEW_DATA, "
    "and omit --nats. With a server of your own, put the operator's user and password into the URL"
)

T = TypeVar("T")


class Source(Protocol):
    """A source of threads and their history: a deployment, or a pack."""

    reader: Reader
    histories: Histories


def ask(nats: str, tenant: str, action: Callable[[client.Clew], Awaitable[T]], *, actor: str | None = None) -> T:
    """Run a query or command against the services that listen on NATS; reads nothing else of the deployment."""
    prefix = reply_prefix()

    async def run_action() -> T:
        url = Settings(nats=nats).nats_url
        async with client.connect(url, tenant=tenant, actor=actor, timeout=PATIENCE, inbox_prefix=prefix) as clew:
            return await action(clew)

    hush()
    return run(run_action())


def look(nats: str, action: Callable[[compose.Clew], Awaitable[T]]) -> T:
    """Run an action on the deployment itself; needs no running service.

    Raises:
        NotPermitted: the NATS user may not read the deployment; the message says how to name another.
    """
    prefix = reply_prefix()

    async def run_action() -> T:
        url = Settings(nats=nats).nats_url
        try:
            async with compose.connect(url, name="clew-cli", patience=PATIENCE, inbox_prefix=prefix) as clew:
                return await action(clew)
        except NotPermitted as fault:
            raise NotPermitted(f"{fault.message}. {_WAY_OUT}") from fault

    hush()
    return run(run_action())


def consult(nats: str, pack: Path | None, action: Callable[[Source], Awaitable[T]]) -> T:
    """Run a query on a pack, without a server, or, if there is none, on the deployment itself."""
    if pack is None:
        return look(nats, action)
    from clew_projections.packs.pack import Pack  # noqa: PLC0415 - needed with --pack alone
    from clew_services.packs.offline import Offline  # noqa: PLC0415

    async def run_action() -> T:
        return await action(Offline(Pack(pack)))

    hush()
    return run(run_action())
