"""Repair of views that drifted, and of full pages of places: each is explained, then written again from the log.

A view is repaired as of its own commit and guarded by its revision, so a projector's concurrent write is not undone;
later missed commits are projected as usual.
"""

from __future__ import annotations

import asyncio
from typing import Final

from msgspec import Struct

from clew_events.backoff import delays
from clew_events.errors import Corrupt, Unavailable
from clew_events.subjects import Address
from clew_projections.apply import advance
from clew_projections.consistency.explain import why_page, why_thread
from clew_projections.consistency.log_fold import FoldedThread, fold
from clew_projections.consistency.view_check import ViewCheck, ViewComparison, page_difference
from clew_projections.history.histories import Histories
from clew_projections.kv.bucket import Bucket, LostRace, Value
from clew_projections.kv.key_names import page_key, thread_key
from clew_projections.projector.batch import BatchProjection
from clew_projections.projector.page_store import readable_page
from clew_projections.views import StoredView, absent, decode_stored, encode

TRIES: Final = 5


class Repair(Struct, frozen=True, kw_only=True):
    """The drift of a thread's views, its explanation, and whether it is repaired."""

    tenant: str
    thread: str
    what: str
    why: tuple[str, ...]
    repaired: bool


class Repairer:
    """Repairs views of one generation."""

    def __init__(
        self, threads: Bucket, histories: Histories, comparing: ViewCheck, projecting: BatchProjection
    ) -> None:
        self._threads = threads
        self._histories = histories
        self._comparing = comparing
        self._projecting = projecting

    async def repair(self, compared: ViewComparison) -> Repair:
        """Explain the drift of a thread and write its views again from the log.

        Changes nothing where the log itself is unreadable or has lost commits.

        Raises:
            Unavailable: the log or a bucket does not answer, or others keep changing the views.
        """
        address, finding = compared.address, compared.finding
        assert finding is not None, "there is something to repair"
        why: tuple[str, ...] = ()
        pauses = delays()
        for _ in range(TRIES):
            try:
                why = why or await self._why(address, compared)
                await self._rewrite(address, compared)
            except LostRace:
                await asyncio.sleep(next(pauses))
            except Corrupt as fault:
                return _repair_result(compared, (*why, fault.message), repaired=False)
            compared = await self._comparing.thread(address)
            if compared.finding is None:
                return Repair(tenant=address.tenant, thread=address.thread, what=finding.what, why=why, repaired=True)
        if compared.finding is not None and compared.finding.code != "drift":
            return _repair_result(compared, why, repaired=False)
        raise Unavailable(
            f"the views of thread {address.thread} are still not what the log says, after {TRIES} tries: "
            f"{compared.finding.what if compared.finding else ''}",
            code="repair_contended",
        )

    async def _why(self, address: Address, compared: ViewComparison) -> tuple[str, ...]:
        history = await self._histories.tail(address, 0)
        why: list[str] = []
        if compared.thread:
            value = await self._threads.latest(thread_key(address))
            view = _readable(value)
            why.append("the view cannot be read" if view is None else why_thread(view, history))
        if compared.missed:
            missed = ", ".join(str(each.commit.n) for each in history[compared.n :][:20])
            why.append(f"commits {missed} were never applied to it, or an older state of the bucket was put back")
        for number in compared.pages:
            value = await self._threads.latest(page_key(address, number))
            found = readable_page(value, number, advance(absent(*address), history[0]).inherited)
            why.append(why_page(found, number, history[: compared.n] or history))
        return tuple(why)

    async def _rewrite(self, address: Address, compared: ViewComparison) -> None:
        value = await self._threads.latest(thread_key(address))
        view = _readable(value)
        if value is not None and view is not None:
            folded = await fold(address, self._histories.after(address, 0), view.n)
            if folded.view.n < view.n:
                raise folded.fault or Corrupt(
                    f"the log of thread {address.thread} ends with commit {folded.logged}, and its view stands at "
                    f"{view.n}: commits were lost. Restore the log from a backup, or accept the loss by deleting "
                    "the thread's keys from the bucket",
                    code="log_cut_off",
                )
            # The pages first, as the projector does it.
            for number in compared.pages:
                await self._rewrite_page(address, folded, number)
            if folded.view != view:
                await self._threads.put(thread_key(address), encode(folded.view), value.revision)
        if view is None or compared.missed:
            self._projecting.forget()
            await self._projecting.catch_up(address)

    async def _rewrite_page(self, address: Address, folded: FoldedThread, number: int) -> None:
        value = await self._threads.latest(page_key(address, number))
        if number in folded.pages and page_difference(number, folded, value) is not None:
            revision = value.revision if value is not None else 0
            await self._threads.put(page_key(address, number), encode(folded.pages[number]), revision)


def _repair_result(compared: ViewComparison, why: tuple[str, ...], *, repaired: bool) -> Repair:
    finding = compared.finding
    assert finding is not None
    return Repair(
        tenant=finding.tenant,
        thread=finding.thread,
        what=finding.what,
        why=why,
        repaired=repaired,
    )


def _readable(value: Value | None) -> StoredView | None:
    try:
        return decode_stored(value.body) if value is not None and value.body else None
    except Corrupt:
        return None
