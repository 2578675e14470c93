"""The worker that removes threads when their time is over, by ordinary commands in the name of ``retention``.

A pass looks at the clocks, goes through the threads that are due, and deletes or erases those that were due an hour
before as well. The id of a command follows from the thread, its version and the rule, so whoever is killed between two
of them goes on, and two workers remove a thread once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import aclosing
from datetime import datetime
from typing import Final, Literal

from msgspec import Struct
from msgspec.structs import replace

from clew_events import ids
from clew_events.commands import Command, DeleteThread, EraseThread
from clew_events.errors import Conflict, Corrupt, Forbidden, Forked, Held, Invalid, Rejected, Unavailable
from clew_events.subjects import Address, own_subjects
from clew_projections.apply import advance
from clew_projections.history.histories import Histories
from clew_projections.history.tenant_histories import TenantHistories
from clew_projections.index.index import BUILDING
from clew_projections.kv.bucket import Bucket
from clew_projections.nats.jetstream import JetStream
from clew_projections.tenant_state import TenantState
from clew_projections.views import absent
from clew_projections.wait import run_until_first
from clew_services.erasure.eraser import Budget
from clew_services.erasure.records import ErasureRecords
from clew_services.eventstore.topology import LEASES
from clew_services.lease import Lease
from clew_services.retention.due import Removal, agree, judge
from clew_services.retention.due_threads import DueThread, DueThreads, Suspects
from clew_services.retention.look_book import LookBook, PassState
from clew_services.retention.looks import Looks
from clew_services.threads.handler import Commands

NAME: Final = "retention"
"""The lease, and who is recorded with each removal, as the actor and as what Clew itself knows of the caller."""
EVERY: Final = 600.0
"""Seconds between two passes, and between two looks in a pass that takes longer."""
AGAIN: Final = 5.0
"""Seconds after which a pass that failed is tried again, or a lease that another process has."""
RATE: Final = 50.0
"""Threads a second that are removed at most, so that writers have the rest."""
PAGE: Final = 100
ERASING: Final = 10_000
"""Erasures that are under way, with which no further ones are requested."""

Outcome = Literal["deleted", "erased", "held", "waiting"]
_LOG: Final = logging.getLogger("clew.retention")


class RetentionParts(Struct, frozen=True):
    """What the worker uses."""

    js: JetStream
    shards: int
    book: LookBook
    histories: Histories
    tenants: TenantHistories
    suspects: Suspects
    due: DueThreads
    records: ErasureRecords
    commands: Commands


class RetentionWorker:
    """Removes what is due in a deployment. Any number may run, one at a time should."""

    def __init__(self, parts: RetentionParts, *, rate: float = RATE) -> None:
        """``rate`` is how many threads a second are removed at most."""
        self._parts = parts
        self._budget = Budget(rate)
        self._own_shard, _ = own_subjects(parts.shards)
        self._looked_at = 0.0

    async def run(self, only: str | None = None) -> PassState:
        """Go once through the threads that are due, of all tenants or ``only`` of one.

        Raises:
            Unavailable: JetStream does not answer, or there is no index.
        """
        looks = await self._look()
        now, believed = looks.latest.now, looks.believed_at
        state = PassState(at=now, believed_at=believed if believed > now else None)
        for tenant in await self._tenants(state.at) if only is None else [only]:
            try:
                looks, state = await self._remove_due(tenant, looks, state)
            except (Invalid, Corrupt) as fault:
                _LOG.error("threads of tenant %s that are due cannot be found: %s", tenant, fault)
        if only is None:
            await self._parts.book.write_state(state)
        return state

    async def _tenants(self, at: datetime) -> list[str]:
        expiring = await self._parts.suspects.expiring_tenants(at)
        return sorted({*expiring, *await self._parts.tenants.tenants()})

    async def _look(self) -> Looks:
        self._looked_at = time.monotonic()
        return await self._parts.book.look()

    async def _remove_due(self, tenant: str, looks: Looks, state: PassState) -> tuple[Looks, PassState]:
        rules = await self._parts.tenants.state(tenant)
        async with aclosing(self._parts.due.pages(tenant, rules, state.at, PAGE)) as pages:
            async for page, _ in pages:
                crowded = len(await self._parts.records.pending()) >= ERASING
                for each in page:
                    if (await self._parts.tenants.state(tenant)).n != rules.n:
                        return looks, state  # The next pass goes by the new rules.
                    removal = await self._agreed(each, rules, looks)
                    if crowded and removal is not None and removal.action == "erase":
                        return looks, state.count("waiting", each.removal.at)
                    outcome = await self._take(tenant, each, removal)
                    state = state.count(outcome, each.removal.at)
                if time.monotonic() - self._looked_at >= EVERY:
                    looks = await self._look()
        return looks, state

    async def _agreed(self, due: DueThread, rules: TenantState, looks: Looks) -> Removal | None:
        """What two looks agree is to be done with a thread that is due, by the same rules; ``None`` if nothing yet."""
        if (look := looks.agreed) is None or not look.has(self._own_shard, rules.seq):
            return None
        address = Address(due.thread.tenant, due.thread.id)
        shard = self._parts.histories.shard(address)
        if look.has(shard, due.thread.seq):
            return agree(due.verdict, due.verdict, look.at)
        then = absent(*address)
        async for recorded in self._parts.histories.after(address, 0):
            if not look.has(shard, recorded.position.seq):
                break
            then = advance(then, recorded)
        matched = await self._parts.tenants.matched(then, rules.conditions)
        return agree(due.verdict, judge(matched, rules), look.at)

    async def _take(self, tenant: str, due: DueThread, removal: Removal | None) -> Outcome:
        if due.verdict.holds:
            return "held"
        if removal is None:
            return "waiting"
        await self._budget.wait(NAME)
        try:
            return await self._remove(tenant, due, removal)
        except (Forbidden, Forked) as fault:
            # Forks keep showing what a thread wrote that is only deleted.
            if due.thread.status != "open":
                return "held" if isinstance(fault, Forked) else "waiting"
            _LOG.warning("thread %s of tenant %s is deleted, and not erased: %s", due.thread.id, tenant, fault)
            return await self._remove(tenant, due, replace(removal, action="delete"))

    async def _remove(self, tenant: str, due: DueThread, removal: Removal) -> Outcome:
        try:
            await self._parts.commands.handle(tenant, removal_command(tenant, due, removal), actor=NAME, by=NAME)
        except (Forbidden, Forked):
            raise
        except Held:
            return "held"
        except (Conflict, Rejected, Corrupt) as fault:
            # It was changed, removed or held since it was read, or is damaged.
            _LOG.info("thread %s of tenant %s is left to the next pass: %s", due.thread.id, tenant, fault)
            return "waiting"
        return "deleted" if removal.action == "delete" else "erased"


def removal_command(tenant: str, due: DueThread, removal: Removal) -> Command:
    """The command that removes a thread as it was read. It is the same whoever makes it, and changes no other version.

    Why is the name of the policy, or ``expires_after``.
    """
    thread, why = due.thread, removal.policy or "expires_after"
    command_id = ids.derive_id("cmd_retention_", tenant, thread.id, str(thread.n), removal.action, why)
    if removal.action == "delete":
        return DeleteThread(id=command_id, thread_id=thread.id, expected_version=thread.n, reason=f"retention: {why}")
    return EraseThread(id=command_id, thread_id=thread.id, expected_version=thread.n, reason=why)


async def serve_retention(parts: RetentionParts, stop: asyncio.Event, ready: asyncio.Event | None = None) -> None:
    """Remove threads that are due until ``stop`` is set. One process of the deployment does so at a time."""
    if ready is not None:
        ready.set()
    worker = RetentionWorker(parts)

    async def work() -> None:
        while True:
            try:
                state = await worker.run()
            except Unavailable as fault:
                if fault.code != BUILDING:
                    raise
                _LOG.info("retention waits: %s", fault)
                await asyncio.sleep(AGAIN)
                continue
            if state.deleted or state.erased:
                _LOG.info(
                    "retention: %d threads deleted, %d erased, %d held, %d waiting",
                    *(state.deleted, state.erased, state.held, state.waiting),
                )
            await asyncio.sleep(EVERY)

    await run_until_first(Lease(Bucket(parts.js, LEASES), NAME).work(work, AGAIN), stop.wait())
