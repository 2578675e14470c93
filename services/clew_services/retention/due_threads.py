"""The threads that are due: the index names those that may be, and the log decides."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import datetime, timedelta
from typing import Final, Protocol

from msgspec import Struct

from clew_events.errors import Corrupt, Invalid
from clew_events.list_query import ListDue
from clew_events.list_reply import DuePage
from clew_events.list_reply import DueThread as DueObject
from clew_events.subjects import Address
from clew_projections.audit.moments import first_instant
from clew_projections.history.tenant_histories import TenantHistories
from clew_projections.index.suspects import DuePlace, DueQuestion, Suspect
from clew_projections.lru_cache import LRUCache
from clew_projections.state.current import CurrentState
from clew_projections.tenant_state import TenantState
from clew_projections.views import ThreadView
from clew_services.retention.due import Removal, Verdict, judge

AT_ONCE: Final = 16
"""Threads that are read at the same time."""
LOOKED: Final = 1_000
"""Threads that are looked at for an answer at most."""
_PLACE: Final = re.compile(r"([0-9]{1,3})\.(-?[0-9]{1,18})\.([A-Za-z0-9_-]{1,128})")
KNOWN: Final = 200_000
"""Threads that are remembered to be due later, or never, as long as neither they nor the rules change."""
_LOG: Final = logging.getLogger("clew.retention")


class Suspects(Protocol):
    """Finds threads that may be due; see :class:`clew_services.queries.lists.Lists`."""

    async def suspects(self, tenant: str, question: DueQuestion, after: DuePlace, limit: int) -> Sequence[Suspect]:
        """Threads of a tenant that may be due."""

    async def expiring_tenants(self, until: datetime) -> Sequence[str]:
        """The tenants that have threads which expire by a time."""


class DueThread(Struct, frozen=True):
    """A thread that is due: as it is, what is to be done with it, and what keeps it from that."""

    thread: ThreadView
    removal: Removal
    verdict: Verdict


class _Later(Struct, frozen=True):
    """When a thread is due that was at a sequence, by rules of a version; ``None``: never."""

    seq: int
    rules: int
    at: datetime | None


class DueThreads:
    """Finds the threads of tenants that are due."""

    def __init__(self, suspects: Suspects, current: CurrentState, tenants: TenantHistories) -> None:
        self._suspects = suspects
        self._tenants = tenants
        self._current = current
        self._later = LRUCache[Address, _Later](KNOWN)

    async def pages(
        self, tenant: str, rules: TenantState, at: datetime, size: int, after: DuePlace | None = None
    ) -> AsyncGenerator[tuple[list[DueThread], DuePlace], None]:
        """Yield the threads of a tenant that are due at a time, by pages that may be empty, and the place of each page.

        ``size`` is how many threads of the index are looked at for a page; those ``after`` a place are. A thread whose
        history cannot be read is logged and left out.

        Raises:
            Unavailable: there is no index, or the log does not answer.
        """
        for question in questions(rules, at):
            if after is not None and question.number < after.question:
                continue
            place = after if after is not None and question.number == after.question else DuePlace(question.number)
            while suspects := await self._suspects.suspects(tenant, question, place, size):
                place = DuePlace(question.number, suspects[-1].time, suspects[-1].id)
                due = await self._read_all(tenant, suspects, rules, at)
                # A thread that is due by several rules is in the answers to several questions.
                yield [each for each in due if each.removal.policy == question.policy], place

    async def _read_all(
        self, tenant: str, suspects: Sequence[Suspect], rules: TenantState, at: datetime
    ) -> list[DueThread]:
        addresses = [Address(tenant, each.id) for each in suspects if self._may_be_due(tenant, each, rules, at)]
        found: list[DueThread | None] = []
        for start in range(0, len(addresses), AT_ONCE):
            reads = [self._try(address, rules, at) for address in addresses[start : start + AT_ONCE]]
            found += await asyncio.gather(*reads)
        return [each for each in found if each is not None]

    async def _try(self, address: Address, rules: TenantState, at: datetime) -> DueThread | None:
        try:
            return await self.read(address, rules, at)
        except Corrupt as fault:
            _LOG.error(
                "whether thread %s of tenant %s is due cannot be said: %s", address.thread, address.tenant, fault
            )
            return None

    async def read(self, address: Address, rules: TenantState, at: datetime) -> DueThread | None:
        """Read a thread as of its latest commit; ``None`` if it is not due at a time.

        Raises:
            Unavailable: the log does not answer.
            Corrupt: its history cannot be read.
        """
        thread = await self._current.catch_up(await self._current.cached_view(address))
        verdict = judge(await self._tenants.matched(thread, rules.conditions), rules)
        removal = verdict.due(at)
        if removal is not None:
            return DueThread(thread, removal, verdict)
        first = verdict.removals[0].at if verdict.removals else None
        self._later.put(address, _Later(thread.seq, rules.n, first))
        return None

    def _may_be_due(self, tenant: str, suspect: Suspect, rules: TenantState, at: datetime) -> bool:
        later = self._later.get(Address(tenant, suspect.id))
        if later is None or suspect.seq > later.seq or rules.n != later.rules:
            return True
        return later.at is not None and later.at <= at


async def due_page(due: DueThreads, tenant: str, rules: TenantState, query: ListDue, now: datetime) -> DuePage:
    """Answer a query for the threads of a tenant that are due. It ends where some are found, or many were looked at.

    Raises:
        Invalid: ``after`` is no cursor, or ``until`` has no offset.
        Unavailable: there is no index, or the log does not answer.
    """
    at = first_instant(query.until, "until") if query.until is not None else now
    place = _decode_place(query.after) if query.after is not None else None
    looked = 0
    async with aclosing(due.pages(tenant, rules, at, query.limit, place)) as pages:
        async for page, end in pages:
            looked += query.limit
            if page or looked >= LOOKED:
                data = tuple(map(_due_object, page))
                first, last = (data[0].id, data[-1].id) if data else (None, None)
                cursor = f"{end.question}.{end.time}.{end.id}"
                return DuePage(data=data, first_id=first, last_id=last, has_more=True, next=cursor)
    return DuePage(data=(), first_id=None, last_id=None, has_more=False, next=None)


def _due_object(due: DueThread) -> DueObject:
    return DueObject(
        id=due.thread.id,
        action=due.removal.action,
        due_at=int(due.removal.at.timestamp()),
        policy=due.removal.policy,
        deleted=due.thread.status == "deleted",
        holds=due.verdict.holds,
    )


def _decode_place(text: str) -> DuePlace:
    found = _PLACE.fullmatch(text)
    if found is None:
        raise Invalid("Invalid 'after': it is not 'next' of an answer.", code="invalid_cursor", param="after")
    return DuePlace(int(found[1]), int(found[2]), found[3])


def questions(rules: TenantState, at: datetime) -> list[DueQuestion]:
    """The questions to the index for threads that are due at a time, by any rule."""
    found = [DueQuestion(0, at)]
    for policy in sorted(rules.policies.values(), key=lambda each: each.name):
        over, where = at - timedelta(days=policy.after_days), policy.condition
        found.append(DueQuestion(len(found), over, policy.name, policy.since, where=where))
        if policy.then == "erase" or policy.erase_after_days is not None:
            gone = over - timedelta(days=policy.erase_after_days or 0)
            found.append(DueQuestion(len(found), gone, policy.name, policy.since, deleted=True))
    return found
