"""Full pages of threads' places, as the projector reads and writes them: always before the thread's view.

The bucket is one stream, and a server that dies loses the end of a stream. So where a view is, its pages are. A page
with a later sequence contains every commit that an earlier one does, so of two writers the later one wins.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

from msgspec import Struct

from clew_events.errors import Corrupt
from clew_events.subjects import Address
from clew_projections.apply import advance_stored
from clew_projections.history.histories import Histories
from clew_projections.kv.bucket import Bucket, Fault, LostRace, Value, Write
from clew_projections.kv.key_names import page_key
from clew_projections.places import Places, decode_page, first_of_page
from clew_projections.views import StoredView, absent_stored, encode


class _PageWrite(Struct):
    address: Address
    number: int
    page: Places
    revision: int = 0

    @property
    def inherited(self) -> int:
        return self.page.first - first_of_page(self.number)

    @property
    def key(self) -> str:
        return page_key(self.address, self.number)


class PageStore:
    """The pages in the bucket of threads."""

    def __init__(self, bucket: Bucket, histories: Histories) -> None:
        self._bucket = bucket
        self._histories = histories

    async def load(self, address: Address, view: StoredView, numbers: Collection[int]) -> Mapping[int, Places]:
        """Read pages that a view names, at least as of the view. Missing and unreadable ones are made from the log.

        Raises:
            Corrupt: a page is missing, and the history cannot be folded.
            Unavailable: the bucket or the log does not answer.
        """
        keys = {page_key(address, number): number for number in numbers}
        values = await self._bucket.latest_of(keys)
        found = {number: readable_page(values.get(key), number, view.inherited) for key, number in keys.items()}
        pages = {number: page for number, page in found.items() if page is not None and page.seq >= view.pages[number]}
        return pages if len(pages) == len(keys) else {**await self._fold(address, view), **pages}

    async def write(self, pages: Mapping[Address, Mapping[int, Places]]) -> dict[Address, Fault]:
        """Write pages, unless newer ones are stored; return the threads that failed with the reason.

        Raises:
            Unavailable: the bucket does not answer.
        """
        faults: dict[Address, Fault] = {}
        writes = [_PageWrite(address, number, page) for address, some in pages.items() for number, page in some.items()]
        # A page that has just become full is new, and its write is guarded by that. Others are read first.
        known = [each for each in writes if each.page.seq > each.page.added[-1]]
        pending = [each for each in writes if each not in known] + await self._older(known)
        while pending:
            bodies = [Write(each.key, encode(each.page), each.revision) for each in pending]
            lost: list[_PageWrite] = []
            for each, outcome in zip(pending, await self._bucket.put_all(bodies), strict=True):
                if isinstance(outcome, LostRace):
                    lost.append(each)
                elif not isinstance(outcome, int):
                    faults[each.address] = outcome
            pending = await self._older(lost)
        return faults

    async def _older(self, writes: Collection[_PageWrite]) -> list[_PageWrite]:
        """Return the writes of pages that are stored in an older state, or not at all, with their revisions."""
        if not writes:
            return []
        values = await self._bucket.latest_of(each.key for each in writes)
        older: list[_PageWrite] = []
        for each in writes:
            value = values.get(each.key)
            stored = readable_page(value, each.number, each.inherited)
            if stored is None or stored.seq < each.page.seq:
                each.revision = value.revision if value is not None else 0
                older.append(each)
        return older

    async def _fold(self, address: Address, stored: StoredView) -> Mapping[int, Places]:
        """Make all pages that a view names from the log."""
        view, pages = absent_stored(*address), dict[int, Places]()
        async for recorded in self._histories.after(address, 0):
            if recorded.position.seq > stored.seq:
                break
            view, pages = advance_stored(view, pages, recorded)
        if view.pages != stored.pages:
            raise Corrupt(
                f"thread {address.thread}: a page of its places is missing, and cannot be made: by the log its view at "
                f"sequence {stored.seq} names other pages",
                code="unreadable_view",
            )
        return pages


def readable_page(value: Value | None, number: int, inherited: int) -> Places | None:
    """Return the page that a value holds; ``None`` if there is none, or it is unreadable."""
    try:
        return decode_page(value.body, number, inherited) if value is not None and value.body else None
    except Corrupt:
        return None
