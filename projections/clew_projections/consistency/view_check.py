"""Comparison of one thread's views with the log.

A view is compared with the fold up to its own commit, so a lagging projector is not drift, and the full pages of its
places as of that commit. It is drift if the view or a page is wrong then, or if the view has missed a later commit: the
position says that every view up to there is written, and this one is not. It is no drift that a thread is parked, nor
that a view still shows what a later commit erases. A fork needs the commit that it was forked at.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from clew_events.errors import Corrupt
from clew_events.subjects import Address
from clew_projections.consistency.log_fold import FoldedThread, fold
from clew_projections.findings import Finding
from clew_projections.history.histories import Histories
from clew_projections.kv.bucket import Bucket, Value
from clew_projections.kv.key_names import page_key, parked_key, thread_key
from clew_projections.kv.position import read_position
from clew_projections.places import Places, cut_back, decode_page
from clew_projections.views import StoredView, absent_stored, decode_stored, parent_of

AGAIN: Final = 0.2
"""Seconds before a differing thread is compared again, in case it was being written."""
LOST: Final = "log_cut_off"
"""The code of a finding about a thread whose view has more commits than the log."""
READ_AT_ONCE: Final = 64
"""Pages that are read at once."""


class ViewComparison(Struct, frozen=True, kw_only=True):
    """The comparison of a thread: ``behind`` commits are not projected yet; ``finding`` is the drift, if any.

    ``index`` is the drift of the index, if that was compared. ``thread`` if the view is wrong, ``pages`` are the
    numbers of its full pages that are, and ``missed`` if commits up to the position are not in the view.
    """

    address: Address
    n: int
    behind: int
    finding: Finding | None = None
    index: Finding | None = None
    thread: bool = False
    pages: tuple[int, ...] = ()
    missed: bool = False


class ViewCheck:
    """Compares the views of one generation with the log."""

    def __init__(self, threads: Bucket, histories: Histories) -> None:
        self._threads = threads
        self._histories = histories

    async def thread(self, address: Address) -> ViewComparison:
        """Compare one thread, twice if it differs.

        Raises:
            Unavailable: the log or a bucket does not answer.
        """
        return (await self.some((address,)))[0]

    async def some(self, addresses: Sequence[Address]) -> list[ViewComparison]:
        """Compare threads, whose own views are read in one request.

        Raises:
            Unavailable: the log or a bucket does not answer.
        """
        shards = {self._histories.shard(address) for address in addresses}
        # Positions are read before the views, so that a later write does not make a view look as if it missed commits.
        marks = {shard: await read_position((self._threads,), shard) for shard in shards}
        found = await self._threads.latest_of(thread_key(address) for address in addresses)
        return await asyncio.gather(
            *(
                self._twice(address, marks[self._histories.shard(address)], found.get(thread_key(address)))
                for address in addresses
            )
        )

    async def _twice(self, address: Address, mark: int, value: Value | None) -> ViewComparison:
        compared = await self._once(address, mark, value)
        if compared.finding is None:
            return compared
        await asyncio.sleep(AGAIN)
        mark = await read_position((self._threads,), self._histories.shard(address))
        return await self._once(address, mark, await self._threads.latest(thread_key(address)))

    async def _once(self, address: Address, mark: int, value: Value | None) -> ViewComparison:
        try:
            view = decode_stored(value.body) if value is not None and value.body else absent_stored(*address)
        except Corrupt as fault:
            folded = await fold(address, self._histories.after(address, 0), 0)
            return self._compare_once(address, folded, 0, fault.message, thread=True)
        folded = await fold(address, self._histories.after(address, 0), view.n)
        if folded.logged < view.n and folded.fault is None:
            lost = (
                f"the log ends with commit {folded.logged} of this thread, and its view stands at commit {view.n}: "
                "the log has lost commits"
            )
            return self._compare_once(address, folded, view.n, lost, thread=True, code=LOST)
        what = wrong = None
        if not folded.erasing:
            what, wrong = difference(folded.view, view), await self._differing_pages(address, folded)
        if what is not None:
            what += f". The history ends in a fault: {folded.fault.message}" if folded.fault is not None else ""
            return self._compare_once(address, folded, view.n, what, thread=True, pages=tuple(wrong or ()))
        if wrong:
            return self._compare_once(address, folded, view.n, next(iter(wrong.values())), pages=tuple(wrong))
        if (parent := parent_of(folded.view)) is not None:
            try:
                await self._histories.find_parent(parent)
            except Corrupt as fault:
                return self._compare_once(address, folded, view.n, fault.message, code=fault.code)
        if folded.next_seq is not None and folded.next_seq <= mark and not await self._parked(address):
            what = (
                f"thread: its view stands at commit {view.n}, and commit {view.n + 1} at sequence {folded.next_seq} is "
                f"not in it, though everything up to {mark} is projected"
            )
            return self._compare_once(address, folded, view.n, what, missed=True)
        return self._compare_once(address, folded, view.n, None)

    def _compare_once(
        self,
        address: Address,
        folded: FoldedThread,
        n: int,
        what: str | None,
        *,
        thread: bool = False,
        pages: tuple[int, ...] = (),
        missed: bool = False,
        code: str = "drift",
    ) -> ViewComparison:
        shard = self._histories.shard(address)
        if what is None and folded.fault is not None:
            code, what = folded.fault.code, folded.fault.message
        finding: Finding | None = None
        if what is not None:
            finding = Finding(tenant=address.tenant, thread=address.thread, code=code, what=what, shard=shard)
        return ViewComparison(
            address=address,
            n=n,
            behind=max(0, folded.logged - n),
            finding=finding,
            thread=thread,
            pages=pages,
            missed=missed,
        )

    async def _differing_pages(self, address: Address, folded: FoldedThread) -> dict[int, str]:
        """Return, by number, how full pages differ."""
        wrong: dict[int, str] = {}
        numbers = list(folded.pages)
        for start in range(0, len(numbers), READ_AT_ONCE):
            keys = {page_key(address, number): number for number in numbers[start : start + READ_AT_ONCE]}
            stored = await self._threads.latest_of(keys)
            for key, number in keys.items():
                what = page_difference(number, folded, stored.get(key))
                if what is not None:
                    wrong[number] = what
        return wrong

    async def _parked(self, address: Address) -> bool:
        value = await self._threads.latest(parked_key(address))
        return value is not None and bool(value.body)


def page_difference(number: int, folded: FoldedThread, value: Value | None) -> str | None:
    """Describe how a full page differs from the fold, as of its commit; ``None`` if it does not.

    The page may be newer than that only by commits that the log has.
    """
    what, wanted = f"page {number} of its places", folded.pages[number]
    if value is None or not value.body:
        return f"{what}: the bucket does not have it"
    try:
        found = decode_page(value.body, number, folded.view.inherited)
    except Corrupt as fault:
        return f"{what}: {fault.message}"
    if found.seq > folded.view.seq and (folded.next_seq is None or found.seq < folded.next_seq):
        return f"{what}: it has the commit at sequence {found.seq}, which the thread does not have by the log"
    then = cut_back(found, folded.view.seq)
    return _first_difference(what, wanted, _without_erased(then, wanted)) if then is not None else None


def difference(wanted: StoredView, found: StoredView) -> str | None:
    """Describe the first field in which a view differs from the log; ``None`` if there is none."""
    found = replace(found, recent=_without_erased(found.recent, wanted.recent))
    if found.overlay and wanted.overlay:
        found = replace(found, overlay=_without_erased(found.overlay, wanted.overlay))
    return _first_difference("thread", wanted, found)


def _first_difference(what: str, wanted: StoredView | Places, found: StoredView | Places) -> str | None:
    for field in wanted.__struct_fields__:
        ours, theirs = getattr(wanted, field), getattr(found, field)
        if ours != theirs:
            return f"{what}: '{field}' is {theirs!r} in the bucket and {ours!r} by the log"
    return None


def _without_erased(found: Places, wanted: Places) -> Places:
    """Return places without commits that are not large any more, since contents were erased from them."""
    return replace(found, large=tuple(seq for seq in found.large if seq in wanted.large))
