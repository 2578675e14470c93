"""What a command uses if an open deployment is not enough: parts composed of one."""

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
    """A source of threads and their history: a deployment, or a pack."""

    @property
    def reader(self) -> Reader:
        """What answers queries."""

    @property
    def histories(self) -> Histories:
        """What reads threads' commits."""


def use_parts(nats: str, action: Callable[[Clew], Awaitable[T]]) -> T:
    """Run an action on parts of the deployment, which it picks itself; needs no running service."""
    return open_and_ask(nats, connect, action)


def consult(nats: str, pack: Path | None, action: Callable[[Source], Awaitable[T]]) -> T:
    """Run a query on a pack, without a server, or, if there is none, on the deployment itself."""
    if pack is None:
        return use_parts(nats, action)
    from clew_projections.packs.pack import Pack  # noqa: PLC0415 - needed with --pack alone
    from clew_services.packs.offline import Offline  # noqa: PLC0415

    async def run_action() -> T:
        return await action(Offline(Pack(pack)))

    hush()
    return run(run_action())
