"""The beginning of a thread's id in place of the id, as long as no other thread's id begins so."""

from __future__ import annotations

from typing import Final

import msgspec
from nats import errors as nats_errors

from clew_events.client import Clew
from clew_events.client.decode import decode_reply
from clew_events.errors import ClewError, Invalid, NotFound
from clew_events.list_query import Condition, IdTest, ListThreads
from clew_events.list_reply import ThreadList
from clew_events.subjects import query_subject
from clew_services.cli.session import PATIENCE, ask

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
    query = ListThreads(where=Condition(id=IdTest(prefix=thread)), limit=_SHOWN + 1)

    async def find(clew: Clew) -> list[str]:
        # Without retries: where no service listens, the command has its answer already.
        reply = await clew.nc.request(query_subject(tenant, "list_threads"), msgspec.json.encode(query), PATIENCE)
        known = [each.id for each in decode_reply(ThreadList, reply.data).data]
        try:
            if known:
                await clew.history(thread, limit=1)
        except NotFound:
            return known
        return []

    try:
        known = ask(nats, tenant, find)
    except (ClewError, nats_errors.Error):
        raise fault from None
    if not known:
        raise fault
    if len(known) > 1:
        listed = ", ".join(known[:_SHOWN]) + (", ..." if len(known) > _SHOWN else "")
        raise Invalid(f"several threads have ids that begin with {thread}: {listed}", code="ambiguous_id")
    return known[0]
