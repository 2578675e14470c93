"""What a command uses if an open deployment is not enough: parts composed of one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Protocol, TypeVar

from clew_events.errors import NotFound
from clew_events.subjects import Address
from clew_projections.history.histories import Histories
from clew_services.cli.interrupt import run
from clew_services.cli.logs import hush
from clew_services.cli.session import open_and_ask
from clew_services.compose import Clew, connect
from clew_services.queries.reader import Reader

T = TypeVar("T")


@asynccontextmanager
async def name_tenant(histories: Histories, address: Address) -> AsyncIterator[None]:
    """Add to the error for a thread that does not exist which tenant has one with this id, if one has."""
    try:
        yield
    except NotFound as fault:
        other = await histories.find_other_tenant(address)
        if other is None:
            raise
        message = f"{fault.message} Tenant '{other}' has a thread with this id: name it with --tenant."
        raise NotFound(message, code=fault.code, param=fault.param) from fault


class Source(Protocol):
    """A source of threads and their history: a deployment, or a pack."""

    @property
    def reader(self) -> Reader:
        """What answers queries."""

    @property
    def histories(self) -> Histories:
        """What reads threads' commits."""


def use_parts(nats: str, action: Callable[[Clew], Awaitable[T]], *, may_erase: bool = True) -> T:
    """Run an action on parts of the deployment, which it picks itself; needs no running service.

    ``may_erase`` unless nobody has said whether JetStream overwrites what is erased.
    """
    return open_and_ask(nats, partial(connect, may_erase=may_erase), action)


def consult(nats: str, pack: Path | None, address: Address, action: Callable[[Source], Awaitable[T]]) -> T:
    """Run a query about a thread on a pack, without a server, or, if there is none, on the deployment itself.

    Raises:
        NotFound: there is no such thread; the message names a tenant that has one with this id, if there is one.
    """

    async def query(source: Source) -> T:
        async with name_tenant(source.histories, address):
            return await action(source)

    if pack is None:
        return use_parts(nats, query)
    from clew_projections.packs.pack import Pack  # noqa: PLC0415 - needed with --pack alone
    from clew_services.packs.offline import Offline  # noqa: PLC0415

    async def run_action() -> T:
        return await query(Offline(Pack(pack)))

    hush()
    return run(run_action())
