"""Stray views and pages: those without commits in the log, so something other than Clew wrote them.

A walk through the log does not meet them, so this walks the bucket.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final

from clew_events.errors import Corrupt
from clew_events.subjects import Address, event_stream, event_subject
from clew_projections.consistency.log_fold import fold
from clew_projections.findings import Finding
from clew_projections.history.histories import Histories
from clew_projections.kv.bucket import Bucket, Value
from clew_projections.kv.key_names import thread_key
from clew_projections.nats.jetstream import JetStream
from clew_projections.nats.replica_reads import whole
from clew_projections.views import decode_stored

PAGE: Final = 512
"""Views read at a time."""
VIEW: Final = 2
"""Parts of the key of a view: tenant and thread. The key of a page has its number behind them."""
CODE: Final = "stray"
NEVER_ADDED: Final = "the bucket has it, and by the log the thread never had so many items"


async def without_history(js: JetStream, histories: Histories, addresses: Sequence[Address]) -> list[Address]:
    """Return the threads that have no commit in the log.

    Raises:
        Unavailable: the log does not answer.
    """
    missing: list[Address] = []
    for shard in {histories.shard(each) for each in addresses}:
        subjects = {event_subject(shard, each): each for each in addresses if histories.shard(each) == shard}
        there = await js.lasts(event_stream(shard), list(subjects))
        missing += [each for subject, each in subjects.items() if subject not in there]
    # A replica may lag: the leader decides.
    return [each for each in missing if await histories.newest(each, 0) is None]


class Strays:
    """Looks for strays in the bucket of threads of one generation."""

    def __init__(self, js: JetStream, histories: Histories, threads: Bucket) -> None:
        self._js = js
        self._histories = histories
        self._threads = threads

    async def find(self, tenant: str | None = None) -> AsyncGenerator[Finding, None]:
        """Yield a finding for every stray, or for those of a tenant.

        Raises:
            Unavailable: the log or the bucket does not answer.
        """
        async for keys in self._keys(tenant):
            named = [key.split(".") for key in keys]
            addresses = [Address(*parts) for parts in named if len(parts) == VIEW]
            for each in await without_history(self._js, self._histories, addresses):
                yield self._finding(each, "thread: the bucket has a view of it, and the log has nothing of it")
            pages = [(Address(*parts[:VIEW]), parts[-1]) for parts in named if len(parts) == VIEW + 1]
            for address, number in await self._beyond([(each, int(no)) for each, no in pages if no.isdecimal()]):
                yield self._finding(address, f"page {number} of its places: {NEVER_ADDED}")

    async def _beyond(self, pages: Sequence[tuple[Address, int]]) -> list[tuple[Address, int]]:
        """Return the pages of items that were never added to their threads."""
        addresses = list(dict.fromkeys(address for address, _ in pages))
        nowhere = set(await without_history(self._js, self._histories, addresses))
        values = await self._threads.latest_of(map(thread_key, addresses))
        found: list[tuple[Address, int]] = []
        for address, number in pages:
            if address not in nowhere and number < _count_pages(values.get(thread_key(address))):
                continue
            # A page is written before the view that names it.
            folded = await fold(address, self._histories.after(address, 0), sys.maxsize)
            if number not in folded.pages:
                found.append((address, number))
        return found

    async def _keys(self, tenant: str | None) -> AsyncGenerator[list[str], None]:
        """The keys of views and pages, some at a time."""
        skip = len(self._threads.subject(""))
        async with aclosing(whole(self._js, self._threads.stream, ">", limit=PAGE)) as found:
            async for page in found:
                keys = [each.subject[skip:] for each in page if each.body]
                keys = [key for key in keys if not key.startswith("_")]
                if keys := [key for key in keys if tenant is None or key.startswith(f"{tenant}.")]:
                    yield keys

    def _finding(self, address: Address, what: str) -> Finding:
        shard = self._histories.shard(address)
        return Finding(tenant=address.tenant, thread=address.thread, code=CODE, what=what, shard=shard)


def _count_pages(value: Value | None) -> int:
    """Return how many full pages a thread's view names; 0 if it is unreadable."""
    try:
        return len(decode_stored(value.body).pages) if value is not None and value.body else 0
    except Corrupt:
        return 0
