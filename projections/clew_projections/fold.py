"""The fold: what a thread's events add up to. Pure: no clock, no ids, no I/O.

``evolve`` is total over :data:`~clew_events.events.Event`; an event type added without a case here fails type checking.
"""

from __future__ import annotations

from typing import Final, Literal, TypeVar, assert_never

from msgspec import Struct
from msgspec.structs import replace

from clew_events.content import Metadata, ToolResources
from clew_events.events import (
    Event,
    MessageAdded,
    MessageDeleted,
    MessageMetadataUpdated,
    MetadataUpdated,
    ThreadCreated,
    ThreadDeleted,
    ToolResourcesUpdated,
)

FOLD: Final = 1
"""Which fold this is. A change by which the views of one and the same history become others takes the next number."""

Status = Literal["absent", "open", "deleted"]


class ThreadState(Struct, frozen=True, kw_only=True):
    """What the rules need to know of a thread.

    ``messages`` counts those that are there; ``last_ordinal`` is the ordinal of the latest ever added.
    """

    status: Status = "absent"
    metadata: Metadata = {}
    tool_resources: ToolResources = ToolResources()
    messages: int = 0
    last_ordinal: int = 0


State = TypeVar("State", bound=ThreadState)


def evolve(state: State, event: Event) -> State:
    """The state after an event. What else a caller's state carries is kept as it is."""
    match event:
        case ThreadCreated():
            return replace(state, status="open", metadata=event.metadata, tool_resources=event.tool_resources)
        case MetadataUpdated():
            return replace(state, metadata=apply_difference(state.metadata, event.set, event.unset))
        case ToolResourcesUpdated():
            return replace(state, tool_resources=event.tool_resources)
        case MessageAdded():
            return replace(state, messages=state.messages + 1, last_ordinal=event.message.ordinal)
        case MessageMetadataUpdated():
            return state
        case MessageDeleted():
            return replace(state, messages=state.messages - 1)
        case ThreadDeleted():
            return replace(state, status="deleted")
        case _:
            assert_never(event)


def apply_difference(metadata: Metadata, to_set: Metadata, to_unset: tuple[str, ...]) -> Metadata:
    """Metadata after a recorded difference. Keys keep their place; new ones come last."""
    changed = {**metadata, **to_set}
    for key in to_unset:
        changed.pop(key, None)
    return changed
