"""The present from the log alone: dearer than from views, and as right. For when there are no views to go by."""

from __future__ import annotations

from collections.abc import Sequence

from clew_events.subjects import Address
from clew_projections.advancing import advance
from clew_projections.histories.history import Histories
from clew_projections.present.present import Outgrown, Present
from clew_projections.views import MessageView, SpentId, ThreadView, absent


class FromLog:
    """Reads the present by folding histories from their first commit."""

    def __init__(self, histories: Histories) -> None:
        self._histories = histories

    async def projected(self, address: Address) -> Present:
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
