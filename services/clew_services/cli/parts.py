"""What a command of the command line works with if it needs more than an open deployment: parts composed of one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol, TypeVar

from clew_projections.history.histories import Histories
from clew_services.cli.interrupt import run
from clew_services.cli.logs import hush
from clew_services.cli.session import open_and_ask
from clew_services.compose import Clew, connect
from clew_services.queries.reader import Reader

T = TypeVar("T")


class Source(Protocol):
    """What can be asked about threads and their past: a deployment, or a pack in a file."""

    @property
    def reader(self) -> Reader:
        """What answers queries."""

    @property
    def histories(self) -> Histories:
        """What reads threads' commits."""


def use_parts(nats: str, question: Callable[[Clew], Awaitable[T]]) -> T:
    """Work with parts of a deployment, which works with no service running; ``question`` picks those that it needs."""
    return open_and_ask(nats, connect, question)


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
