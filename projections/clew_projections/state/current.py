"""The present from the log alone: dearer than from views, and as right. For when there are no views to go by."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, TypeVar

from clew_events.errors import Unavailable
from clew_events.ids import ordinal_of
from clew_events.subjects import Address
from clew_projections.apply import advance
from clew_projections.history.histories import Histories
from clew_projections.kv.bucket import NO_BUCKET
from clew_projections.state.state_reads import Outgrown, Present, StateReads
from clew_projections.views import MessageView, SpentId, ThreadView, absent


class StateFromLog:
    """Reads the present by folding histories from their first commit."""

    def __init__(self, histories: Histories) -> None:
        self._histories = histories

    async def cached_view(self, address: Address) -> Present:
        """The thread at its latest commit."""
        return await self.present(address)

    async def caught_up(self, view: ThreadView) -> ThreadView:
        """A view brought up to the latest commit."""
        async for recorded in self._histories.after(Address(view.tenant, view.id), view.seq):
            view = advance(view, recorded)
        return view

    async def present(self, address: Address) -> Present:
        """The thread at its latest commit."""
        view = await self.caught_up(absent(*address))
        return Present(view, (), view.seq, self)

    async def messages(self, present: Present, ordinals: Sequence[int]) -> dict[int, MessageView]:
        """The messages at some ordinals as they were at ``present``."""
        thread = present.thread
        wanted = {ordinal for ordinal in ordinals if 1 <= ordinal <= thread.last_ordinal}
        if not wanted:
            return {}
        found = await self._histories.messages_at(Address(thread.tenant, thread.id), wanted, thread.n)
        return {view.ordinal: view for view in found.values()}

    async def outgrown(self, address: Address) -> Outgrown:  # noqa: ARG002 - asked of anybody who reads
        """Nothing: the log says it all."""
        return Outgrown(set(), 0)

    async def spent(self, address: Address, command_id: str) -> SpentId | None:  # noqa: ARG002 - likewise
        """Nothing, likewise."""
        return None


SAID_AGAIN: Final = 10.0
"""Seconds between warnings that answers come from the log."""

T = TypeVar("T")
_LOG: Final = logging.getLogger("clew.state")


class CurrentState:
    """Reads the present. An answer is right whether its generation is live, was live, or has lost its buckets."""

    def __init__(self, live: Callable[[], StateReads], from_log: StateFromLog, look_again: Callable[[], None]) -> None:
        """``look_again`` has the record of generations read again, since this process may have missed a switch."""
        self._live = live
        self._from_log = from_log
        self._look_again = look_again
        self._said = -SAID_AGAIN

    async def cached_view(self, address: Address) -> ThreadView:
        """A thread's view as cheaply as it is to be had, which may lag; an absent one if nothing is there.

        Raises as ``as_projected``.
        """
        return (await self.as_projected(address)).thread

    async def as_projected(self, address: Address) -> Present:
        """The same, together with what reading its messages takes.

        Raises:
            Unavailable: neither the buckets nor the log answer.
            Corrupt: there are no buckets to go by, and the thread's history cannot be read.
        """
        return await self._or_from_log(self._live().cached_view(address), lambda: self._from_log.present(address))

    async def caught_up(self, view: ThreadView) -> ThreadView:
        """A view brought up to the latest commit: one request when it is there already, or one commit short.

        Raises:
            Unavailable: the log does not answer.
            Corrupt: the thread's history cannot be read.
        """
        return await self._or_from_log(self._live().caught_up(view), lambda: self._from_log.caught_up(view))

    async def present(self, address: Address) -> Present:
        """A thread at its latest commit, together with what reading its messages takes. Raises as ``caught_up``."""
        return await self._or_from_log(self._live().present(address), lambda: self._from_log.present(address))

    async def messages(self, present: Present, ordinals: Sequence[int]) -> dict[int, MessageView]:
        """The messages at some ordinals, of those that were ever added, none older than ``present``."""
        return await self._or_from_log(
            present.by.messages(present, ordinals), lambda: self._from_log.messages(present, ordinals)
        )

    async def message(self, present: Present, message_id: str) -> MessageView | None:
        """The message with an id, if the thread ever had it."""
        ordinal = ordinal_of(message_id)
        if not 1 <= ordinal <= present.thread.last_ordinal:
            return None
        found = (await self.messages(present, (ordinal,))).get(ordinal)
        return found if found is not None and found.id == message_id else None

    async def outgrown(self, address: Address) -> Outgrown:
        """What is known of the command ids that a thread's view has outgrown."""
        return await self._or_from_log(self._live().outgrown(address), lambda: self._from_log.outgrown(address))

    async def spent(self, address: Address, command_id: str) -> SpentId | None:
        """What is kept of a command id beside a thread's view, if anything is."""
        return await self._or_from_log(
            self._live().spent(address, command_id), lambda: self._from_log.spent(address, command_id)
        )

    async def _or_from_log(self, asked: Awaitable[T], from_log: Callable[[], Awaitable[T]]) -> T:
        try:
            return await asked
        except Unavailable as fault:
            if fault.code != NO_BUCKET:
                raise
            self._say(fault)
        self._look_again()
        return await from_log()

    def _say(self, fault: Unavailable) -> None:
        now = time.monotonic()
        if now - self._said >= SAID_AGAIN:
            self._said = now
            _LOG.warning("answers come from the log, which is right and slower: %s", fault.message)
