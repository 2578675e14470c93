"""The beginning of a thread's id in place of the id, as long as no other thread's id begins so."""

from __future__ import annotations

from typing import Final

from clew_events.client import Clew
from clew_events.errors import ClewError, Invalid, NotFound
from clew_events.list_query import Condition, IdTest, ListThreads
from clew_services.cli.session import ask

_SHOWN: Final = 5
"""Threads that are listed of those that an ambiguous beginning may mean."""


def complete_id(fault: NotFound, thread: str, *, tenant: str, nats: str) -> str:
    """The id of the one thread that ``thread`` is the beginning of, of those that are not deleted.

    The index is asked, by the services that listen on NATS. An id that a thread has or had is never the beginning of
    another.

    Raises:
        NotFound: ``fault``, if there is no such thread, the index cannot be asked, or something else is missing.
        Invalid: several ids begin so.
    """

    async def find(clew: Clew) -> list[str]:
        try:
            await clew.history(thread, limit=1)
        except NotFound:
            query = ListThreads(where=Condition(id=IdTest(prefix=thread)), limit=_SHOWN + 1)
            return [each.id for each in (await clew.ask_for_threads(query)).data]
        return []

    try:
        known = ask(nats, tenant, find)
    except ClewError:
        raise fault from None
    if not known:
        raise fault
    if len(known) > 1:
        listed = ", ".join(known[:_SHOWN]) + (", ..." if len(known) > _SHOWN else "")
        raise Invalid(f"several threads have ids that begin with {thread}: {listed}", code="ambiguous_id")
    return known[0]
