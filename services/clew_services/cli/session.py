"""What a command of the command line works with: a client, or a composed deployment."""

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
"""Seconds that somebody at a terminal waits for an answer before being told that there is none."""

_WAY_OUT: Final = (
    "'clew up' keeps a URL with the password of its server in its data folder: name that with --data or CLEW_DATA, "
    "and leave --nats away. With a server of your own, put user and password of its operator into the URL"
)

T = TypeVar("T")


class Source(Protocol):
    """What can be asked about threads and their past: a deployment, or a pack in a file."""

    reader: Reader
    histories: Histories


def ask(nats: str, tenant: str, question: Callable[[client.Clew], Awaitable[T]], *, actor: str | None = None) -> T:
    """Ask the services that listen on NATS, and nothing else of the deployment."""
    prefix = reply_prefix()

    async def asked() -> T:
        url = Settings(nats=nats).nats_url
        async with client.connect(url, tenant=tenant, actor=actor, timeout=PATIENCE, inbox_prefix=prefix) as clew:
            return await question(clew)

    hush()
    return run(asked())


def look(nats: str, question: Callable[[compose.Clew], Awaitable[T]]) -> T:
    """Look at the deployment itself, which works with no service running."""
    prefix = reply_prefix()

    async def looked() -> T:
        url = Settings(nats=nats).nats_url
        try:
            async with compose.connect(url, name="clew-cli", patience=PATIENCE, inbox_prefix=prefix) as clew:
                return await question(clew)
        except NotPermitted as fault:
            raise NotPermitted(f"{fault.message}. {_WAY_OUT}") from fault

    hush()
    return run(looked())


def consult(nats: str, pack: Path | None, question: Callable[[Source], Awaitable[T]]) -> T:
    """Ask a pack, if there is one, with no server in reach; otherwise the deployment itself."""
    if pack is None:
        return look(nats, question)
    from clew_projections.packs.pack import Pack  # noqa: PLC0415 - only asked for now and then
    from clew_services.packs.offline import Offline  # noqa: PLC0415

    async def consulted() -> T:
        return await question(Offline(Pack(pack)))

    hush()
    return run(consulted())
