"""Comparison of one thread's views with the log.

A view is compared with the fold up to its own commit, so a lagging projector is not drift. It is drift if the view is
wrong as of that commit, or has missed a later commit: the position says that every view up to there is written, and
this one is not. It is no drift that a server that died lost views of messages that the projectors write again (see
:mod:`clew_projections.kv.lost_views`), or that a thread is parked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from clew_events.errors import Corrupt
from clew_events.subjects import Address
from clew_projections.consistency.log_fold import FoldedThread, fold
from clew_projections.findings import Finding
from clew_projections.history.histories import Histories
from clew_projections.kv.bucket import Bucket, Value
from clew_projections.kv.key_names import message_key, parked_key, thread_key
from clew_projections.kv.lost_views import Doubts
from clew_projections.kv.position import read_position
from clew_projections.views import MessageView, ThreadView, absent, decode_message, decode_thread

AGAIN: Final = 0.2
"""Seconds before a differing thread is compared again, in case it was being written."""
LOST: Final = "log_cut_off"
"""The code of a finding about a thread whose view has more commits than the log."""
READ_AT_ONCE: Final = 500
"""Messages whose views are read at once."""


class ViewComparison(Struct, frozen=True, kw_only=True):
    """The comparison of a thread: ``behind`` commits are not projected yet; ``finding`` is the drift, if any.

    ``index`` is the drift of the index, if that was compared. ``thread`` if the thread's own view is wrong,
    ``ordinals`` are its messages with wrong views, and ``missed`` if commits up to the position are not in its view.
    """

    address: Address
    n: int
    behind: int
    finding: Finding | None = None
    index: Finding | None = None
    thread: bool = False
    ordinals: tuple[int, ...] = ()
    missed: bool = False


class ViewCheck:
    """Compares the views of one generation with the log."""

    def __init__(self, threads: Bucket, messages: Bucket, histories: Histories, doubts: Doubts) -> None:
        self._threads = threads
        self._messages = messages
        self._histories = histories
        self._doubts = doubts

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
        marks = {shard: await read_position((self._threads, self._messages), shard) for shard in shards}
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
        mark = await read_position((self._threads, self._messages), self._histories.shard(address))
        return await self._once(address, mark, await self._threads.latest(thread_key(address)))

    async def _once(self, address: Address, mark: int, value: Value | None) -> ViewComparison:
        try:
            view = decode_thread(value.body) if value is not None and value.body else absent(*address)
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
        what = difference("thread", folded.view, view)
        if what is not None:
            return self._compare_once(
                address, folded, view.n, what, thread=True, ordinals=await self._wrong(address, folded)
            )
        wrong = await self._differing_messages(address, folded)
        if wrong:
            return self._compare_once(address, folded, view.n, next(iter(wrong.values())), ordinals=tuple(wrong))
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
        ordinals: tuple[int, ...] = (),
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
            ordinals=ordinals,
            missed=missed,
        )

    async def _wrong(self, address: Address, folded: FoldedThread) -> tuple[int, ...]:
        return tuple(await self._differing_messages(address, folded))

    async def _differing_messages(self, address: Address, folded: FoldedThread) -> dict[int, str]:
        """Return, by ordinal, how the views of messages differ."""
        wrong: dict[int, str] = {}
        lost: dict[int, str] = {}
        ordinals = list(folded.messages)
        for start in range(0, len(ordinals), READ_AT_ONCE):
            keys = {message_key(address, each): each for each in ordinals[start : start + READ_AT_ONCE]}
            stored = await self._messages.latest_of(keys)
            for key, ordinal in keys.items():
                wanted = folded.messages[ordinal]
                what, old = _message_differs(wanted, stored.get(key), folded.view.n)
                if what is not None:
                    (lost if old else wrong)[ordinal] = what
        if lost:
            sure = await self._doubts.sure(self._histories.shard(address), folded.view.seq)
            # Views that a crash lost and that the projectors write again are no drift.
            wrong |= lost if sure >= folded.view.seq else {}
        return wrong

    async def _parked(self, address: Address) -> bool:
        value = await self._threads.latest(parked_key(address))
        return value is not None and bool(value.body)


def _message_differs(wanted: MessageView, value: Value | None, n: int) -> tuple[str | None, bool]:
    """Return how a message's view differs, and whether it may only be old or lost."""
    what = f"message {wanted.id}"
    try:
        found = decode_message(value.body) if value is not None and value.body else None
    except Corrupt as fault:
        return f"{what}: {fault.message}", False
    if found is not None and found.n > n:
        return None, False
    return difference(what, wanted, found), found is None or found.n < wanted.n


def difference(what: str, wanted: ThreadView | MessageView, found: ThreadView | MessageView | None) -> str | None:
    """Describe the first field in which a view differs from the log; ``None`` if there is none."""
    if found is None:
        return f"{what}: the bucket has no view of it"
    for field in wanted.__struct_fields__:
        ours, theirs = getattr(wanted, field), getattr(found, field)
        if ours != theirs:
            return f"{what}: '{field}' is {theirs!r} in the bucket and {ours!r} by the log"
    return None
