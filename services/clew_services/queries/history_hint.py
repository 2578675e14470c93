"""A view from which a history is read faster, and from which it is known how long it is at least."""

from __future__ import annotations

from clew_events.errors import Corrupt
from clew_events.subjects import Address
from clew_projections.state.current import CurrentState
from clew_projections.views import ThreadView, absent
from clew_services.threads.cache import Memory


async def hint_of(address: Address, memory: Memory, current: CurrentState) -> ThreadView:
    """A view of a thread, however old; an absent one if there is none that can be read.

    Raises:
        Unavailable: neither the buckets nor the log answer.
    """
    try:
        return memory.recall(address) or await current.cached_view(address)
    except Corrupt:
        return absent(*address)
