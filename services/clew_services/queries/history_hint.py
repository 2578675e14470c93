"""A cached view as a hint: it speeds up reading a history, and gives a lower bound of its length."""

from __future__ import annotations

from clew_events.errors import Corrupt
from clew_events.subjects import Address
from clew_projections.state.current import CurrentState
from clew_projections.views import ThreadView, absent
from clew_services.threads.cache import Memory


async def hint_of(address: Address, memory: Memory, current: CurrentState) -> ThreadView:
    """A view of a thread, of any age; an absent view if there is none or it cannot be read.

    Raises:
        Unavailable: neither the buckets nor the log answer.
    """
    try:
        return memory.recall(address) or await current.cached_view(address)
    except Corrupt:
        return absent(*address)
