"""Sweep: compares whole shards, many threads at a time, in the order of the log.

Correct views are confirmed with few and large reads: the log page by page, the views of all threads that begin on a
page in one request, and the full pages of their places likewise, compared with the fold byte for byte. Every thread
that is not confirmed at once is left to :mod:`clew_projections.consistency.view_check`, which compares it singly; so is
a thread whose commits are so far apart that folding it takes too much memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from typing import Final

import msgspec
from msgspec import Struct

from clew_events.codec import UNREADABLE
from clew_events.errors import Corrupt
from clew_events.subjects import Address, address_of, event_stream, event_subject
from clew_projections.consistency.index_check import ExpectedRows, IndexCheck
from clew_projections.consistency.log_fold import FoldedThread, fold_commit
from clew_projections.consistency.sample import begins
from clew_projections.consistency.view_check import ViewCheck, ViewComparison
from clew_projections.history.histories import read
from clew_projections.history.log_reads import LogReads
from clew_projections.integrity.verify import pages
from clew_projections.kv.bucket import Bucket, Value
from clew_projections.kv.key_names import page_key, thread_key
from clew_projections.nats.stream_messages import StoredMessage
from clew_projections.nats.stream_reads import MULTI_LAST
from clew_projections.views import absent_stored, encode

HELD: Final = 32 * 1024 * 1024
"""The most bytes of commits of threads that are not yet folded to their end."""
A_THREAD: Final = 2_048
"""Bytes that a thread counts for besides its commits."""
SINGLY: Final = 64
"""Threads that are compared singly at a time, each of which is in memory completely."""


class _Stand(Struct, frozen=True):
    n: int


class _Open(Struct, kw_only=True):
    """A thread on its way: its view as stored, the commit that stands at, and its history folded as far as it came."""

    view: bytes
    n: int
    folded: FoldedThread
    created_by: str = ""
    updated_by: str = ""
    size: int = A_THREAD


class _SweepResult(Struct, frozen=True):
    right: list[ViewComparison]
    others: list[Address]


_STAND: Final = msgspec.json.Decoder(_Stand)


class Sweep:
    """Compares the views of one generation with the log, shard by shard."""

    def __init__(
        self,
        js: LogReads,
        threads: Bucket,
        comparing: ViewCheck,
        *,
        replicated: bool,
        held: int = HELD,
        indexed: IndexCheck | None = None,
    ) -> None:
        """``replicated`` unless there is one replica of the log alone; ``held`` is how many bytes may be held.

        ``indexed`` compares the index as well.
        """
        self._js = js
        self._threads = threads
        self._comparing = comparing
        self._replicated = replicated
        self._most = held
        self._indexed = indexed

    async def shard(self, shard: int, tenant: str | None = None) -> AsyncGenerator[ViewComparison, None]:
        """Compare the threads of a shard, or of a tenant in it, roughly in the order of their first commits.

        Raises:
            Unavailable: the log or a bucket does not answer.
        """
        reach = await self._js.extent(shard)
        under_way: dict[Address, _Open] = {}
        checking: asyncio.Task[_SweepResult] | None = None
        try:
            async with aclosing(pages(self._js, shard, max(1, reach.first_seq), reach.last_seq)) as found:
                async for page in found:
                    singly = await self._begin(page, under_way, tenant)
                    done, broken = _fold(page, under_way, shard)
                    singly += [*broken, *_let_go(under_way, self._most)]
                    before, checking = checking, asyncio.create_task(self._check(shard, done, page[-1].seq))
                    # The previous page is finished while the server answers for this one.
                    async for compared in self._finish(before, singly):
                        yield compared
            # The rest have views of commits after the end of the log.
            before, checking = checking, None
            async for compared in self._finish(before, list(under_way)):
                yield compared
        finally:
            if checking is not None:
                checking.cancel()
                await asyncio.wait({checking})

    async def _begin(
        self, page: Sequence[StoredMessage], under_way: dict[Address, _Open], tenant: str | None
    ) -> list[Address]:
        """Open the threads that begin on a page; return those without a usable view."""
        begun = dict.fromkeys(address_of(each.subject) for each in page if begins(each))
        new = [each for each in begun if tenant is None or each.tenant == tenant]
        values = await self._threads.latest_of(map(thread_key, new))
        singly: list[Address] = []
        for address in new:
            value = values.get(thread_key(address))
            n = _stand(value)
            if value is None or n is None or address in under_way:
                under_way.pop(address, None)
                singly.append(address)
            else:
                under_way[address] = _Open(view=value.body, n=n, folded=FoldedThread(view=absent_stored(*address)))
        return singly

    async def _finish(
        self, checking: asyncio.Task[_SweepResult] | None, singly: Sequence[Address]
    ) -> AsyncGenerator[ViewComparison, None]:
        """Yield the results of a check, and then of threads that are compared singly."""
        if checking is not None:
            checked = await checking
            for compared in checked.right:
                yield compared
            singly = [*singly, *checked.others]
        for start in range(0, len(singly), SINGLY):
            found = await self._comparing.some(singly[start : start + SINGLY])
            for compared in await self._indexed.of(found) if self._indexed is not None else found:
                yield compared

    async def _check(self, shard: int, done: dict[Address, _Open], seq: int) -> _SweepResult:
        right = await self._right(shard, done, seq)
        found = [
            ViewComparison(address=address, n=each.n, behind=0) for address, each in done.items() if address in right
        ]
        if self._indexed is not None:
            expected = [_sweep_results(done[each.address]) for each in found]
            found = await self._indexed.compare_expected(found, expected)
        return _SweepResult(found, [address for address in done if address not in right])

    async def _right(self, shard: int, done: dict[Address, _Open], seq: int) -> set[Address]:
        """Return the threads whose views equal the fold of all their commits."""
        right = {address for address, each in done.items() if encode(each.folded.view) == each.view}
        right -= await self._with_later_commits(shard, right, seq)
        wanted = {
            page_key(address, number): (address, page)
            for address, each in done.items()
            if address in right
            for number, page in each.folded.pages.items()
        }
        keys = list(wanted)
        for start in range(0, len(keys), MULTI_LAST):
            some = keys[start : start + MULTI_LAST]
            stored = await self._threads.latest_of(some)
            for key in some:
                address, places = wanted[key]
                value = stored.get(key)
                if value is None or value.body != encode(places):
                    right.discard(address)
        return right

    async def _with_later_commits(self, shard: int, addresses: Iterable[Address], seq: int) -> set[Address]:
        """Return the threads that have a commit after a sequence."""
        stream = event_stream(shard)
        subjects = {event_subject(shard, address): address for address in addresses}
        ask = self._js.lasts_at_leader if self._replicated else self._js.lasts
        return {subjects[subject] for subject in await ask(stream, list(subjects), after=seq)}


def _fold(
    page: Sequence[StoredMessage], under_way: dict[Address, _Open], shard: int
) -> tuple[dict[Address, _Open], list[Address]]:
    """Fold a page into the open threads; return those that reached their view's commit, and the broken ones.

    A thread with a commit after its view's on the same page counts as broken.
    """
    done: dict[Address, _Open] = {}
    broken: list[Address] = []
    for stored in page:
        address = address_of(stored.subject)
        if address in done:
            del done[address]
            broken.append(address)
        if (each := under_way.get(address)) is None:
            continue
        try:
            recorded = read(stored, shard)
            fold_commit(each.folded, recorded)
        except Corrupt:
            del under_way[address]
            broken.append(address)
            continue
        each.created_by = each.created_by or recorded.commit.actor
        each.updated_by = recorded.commit.actor
        each.size += len(stored.body)
        if each.folded.view.n == each.n:
            done[address] = under_way.pop(address)
    return done, broken


def _sweep_results(done: _Open) -> ExpectedRows:
    folded = done.folded
    return ExpectedRows(view=folded.view, items=folded.items, created_by=done.created_by, updated_by=done.updated_by)


def _let_go(under_way: dict[Address, _Open], most: int) -> list[Address]:
    """Drop threads until the rest hold at most ``most`` bytes; return the dropped ones."""
    held = sum(each.size for each in under_way.values()) if under_way else 0
    let_go: list[Address] = []
    while held > most:
        # The thread that began first has made the least progress for its time.
        address = next(iter(under_way))
        held -= under_way.pop(address).size
        let_go.append(address)
    return let_go


def _stand(value: Value | None) -> int | None:
    """Return the commit number of a stored view; ``None`` if it has none."""
    try:
        n = _STAND.decode(value.body).n if value is not None and value.body else 0
    except UNREADABLE:
        return None
    return n if n > 0 else None
