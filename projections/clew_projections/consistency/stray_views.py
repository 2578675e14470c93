"""Stray views: views without commits in the log, so something other than Clew wrote them.

A walk through the log does not meet them, so this walks the buckets.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Final

from clew_events.errors import Corrupt
from clew_events.subjects import Address, event_stream, event_subject
from clew_projections.findings import Finding
from clew_projections.history.histories import Histories
from clew_projections.kv.bucket import Bucket, Value
from clew_projections.kv.key_names import thread_key
from clew_projections.nats.jetstream import JetStream
from clew_projections.nats.replica_reads import whole
from clew_projections.views import decode_thread

PAGE: Final = 512
"""Views read at a time."""
CODE: Final = "stray"
NEVER_ADDED: Final = "the bucket has a view of it, and by the log it was never added"


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
    """Looks for strays in the buckets of one generation."""

    def __init__(self, js: JetStream, histories: Histories, threads: Bucket, messages: Bucket) -> None:
        self._js = js
        self._histories = histories
        self._threads = threads
        self._messages = messages

    async def find(self, tenant: str | None = None) -> AsyncGenerator[Finding, None]:
        """Yield a finding for every stray, or for those of a tenant.

        Raises:
            Unavailable: the log or a bucket does not answer.
        """
        async for keys in self._pages(self._threads, tenant, parts=2):
            addresses = [Address(*key.split(".")) for key in keys]
            for each in await without_history(self._js, self._histories, addresses):
                yield self._finding(each, "thread: the bucket has a view of it, and the log has nothing of it")
        async for keys in self._pages(self._messages, tenant, parts=3):
            places: dict[Address, list[int]] = {}
            for key in keys:
                owner, thread, place = key.split(".")
                places.setdefault(Address(owner, thread), []).append(int(place))
            for address, ordinal in await self._beyond(places):
                yield self._finding(address, f"message {ordinal}: {NEVER_ADDED}")

    async def _beyond(self, places: dict[Address, list[int]]) -> list[tuple[Address, int]]:
        """Return the messages that were never added to their threads."""
        nowhere = set(await without_history(self._js, self._histories, list(places)))
        values = await self._threads.latest_of(map(thread_key, places))
        found: list[tuple[Address, int]] = []
        for address, ordinals in places.items():
            value = values.get(thread_key(address))
            beyond = {each for each in ordinals if not 1 <= each <= _last(value)}
            if address in nowhere:
                beyond = set(ordinals)
            elif beyond:
                # The messages of a commit are written before the view of its thread.
                added = await self._histories.messages_at(address, beyond, 2**63)
                beyond -= {each.ordinal for each in added.values()}
            found += [(address, each) for each in sorted(beyond)]
        return found

    async def _pages(self, bucket: Bucket, tenant: str | None, parts: int) -> AsyncGenerator[list[str], None]:
        """The keys of a bucket that hold a view, some at a time."""
        skip = len(bucket.subject(""))
        async with aclosing(whole(self._js, bucket.stream, ">", limit=PAGE)) as found:
            async for page in found:
                keys = [each.subject[skip:] for each in page if each.body]
                keys = [key for key in keys if not key.startswith("_") and key.count(".") == parts - 1]
                if keys := [key for key in keys if tenant is None or key.startswith(f"{tenant}.")]:
                    yield keys

    def _finding(self, address: Address, what: str) -> Finding:
        shard = self._histories.shard(address)
        return Finding(tenant=address.tenant, thread=address.thread, code=CODE, what=what, shard=shard)


def _last(value: Value | None) -> int:
    """Return the last ordinal in a thread's view; 0 if it is unreadable."""
    try:
        return decode_thread(value.body).last_ordinal if value is not None and value.body else 0
    except Corrupt:
        return 0
