"""Proof of no drift: the buckets compared with the fold of the log, thread by thread.

A projector that lags is not drift. A view that stands at another commit than the fold is compared with the fold up to
its own commit, so a wrong view is found however far behind it is. Nor is it drift that a server which died has lost
views of messages that the projectors are about to write again (see :mod:`clew_projections.doubt`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Final

from msgspec import Struct

from clew_events.errors import Corrupt
from clew_events.subjects import Address
from clew_projections.advancing import advance, advance_message, touched
from clew_projections.audit import Audit, Finding, Folded
from clew_projections.buckets import Bucket, Value, message_key, thread_key
from clew_projections.doubt import Doubts
from clew_projections.history import Histories
from clew_projections.views import MessageView, ThreadView, absent, decode_message, decode_thread

AT_ONCE: Final = 500
"""Threads whose views are read in one request."""


class Compared(Struct, frozen=True, kw_only=True):
    """One thread, compared: ``behind`` commits are not projected yet; ``finding`` is the drift, if there is any."""

    address: Address
    n: int
    behind: int
    finding: Finding | None = None


class Prover:
    """Compares what the buckets say with what the log says."""

    def __init__(self, audit: Audit, threads: Bucket, messages: Bucket, histories: Histories, doubts: Doubts) -> None:
        self._audit = audit
        self._threads = threads
        self._messages = messages
        self._histories = histories
        self._doubts = doubts

    async def prove(self, address: Address | None = None) -> AsyncIterator[Compared]:
        """Every thread of the log, or one, compared with its views.

        Raises:
            Unavailable: the log or a bucket does not answer.
        """
        for shard in self._audit.shards_of(address):
            threads = list((await self._audit.fold(shard, address)).items())
            for start in range(0, len(threads), AT_ONCE):
                some = dict(threads[start : start + AT_ONCE])
                found = await self._threads.get_many(thread_key(each) for each in some)
                for each, folded in some.items():
                    yield await self._compare(shard, each, folded, found.get(thread_key(each)))

    async def _compare(self, shard: int, address: Address, folded: Folded, value: Value | None) -> Compared:
        logged = folded.view.n
        try:
            view = decode_thread(value.body) if value is not None and value.body else absent(*address)
            if view.n != folded.view.n:
                folded = await self._fold_until(address, view.n)
            what = _difference("thread", folded.view, view) or await self._messages_differ(shard, address, folded)
        except Corrupt as fault:
            view, what = folded.view, fault.message
        finding = folded.finding
        if what is not None:
            finding = Finding(tenant=address.tenant, thread=address.thread, code="drift", what=what, shard=shard)
        return Compared(address=address, n=view.n, behind=max(0, logged - view.n), finding=finding)

    async def _fold_until(self, address: Address, n: int) -> Folded:
        folded = Folded(view=absent(*address), messages={})
        if n == 0:
            return folded
        async for recorded in self._histories.after(address, 0):
            folded.view = advance(folded.view, recorded)
            for message_id in touched(recorded.commit):
                before = folded.messages.get(message_id)
                folded.messages[message_id] = advance_message(before, message_id, recorded.commit)
            if folded.view.n == n:
                break
        return folded

    async def _messages_differ(self, shard: int, address: Address, folded: Folded) -> str | None:
        keys = {message_key(address, view.ordinal): view for view in folded.messages.values()}
        stored: Mapping[str, Value] = await self._messages.get_many(keys) if keys else {}
        lost: str | None = None
        behind = {key for key, wanted in keys.items() if _n(stored.get(key)) < wanted.n}
        # A replica may be behind. The leader tells whether that is all.
        stored = {**stored, **await self._messages.latest_of(behind)} if behind else stored
        for key, wanted in keys.items():
            value = stored.get(key)
            found = decode_message(value.body) if value is not None and value.body else None
            if found is not None and found.n > folded.view.n:
                continue
            what = _difference(f"message {wanted.id}", wanted, found)
            if found is not None and found.n == wanted.n and what is not None:
                return what
            lost = lost or what
        if lost is not None and await self._doubts.sure(shard, folded.view.seq) < folded.view.seq:
            return None
        return lost


def _n(value: Value | None) -> int:
    return decode_message(value.body).n if value is not None and value.body else 0


def _difference(what: str, wanted: ThreadView | MessageView, found: ThreadView | MessageView | None) -> str | None:
    """In words, the first field in which a view is not what the log says."""
    if found is None:
        return f"{what}: the bucket has no view of it"
    for field in wanted.__struct_fields__:
        ours, theirs = getattr(wanted, field), getattr(found, field)
        if ours != theirs:
            return f"{what}: '{field}' is {theirs!r} in the bucket and {ours!r} by the log"
    return None
