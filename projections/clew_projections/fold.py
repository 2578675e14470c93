"""The fold: the state of a thread after its events. Pure: no clock, no ids, no I/O.

``evolve`` is total over :data:`~clew_events.events.Event`; an event type added without a case here fails type checking.
"""

from __future__ import annotations

from typing import Final, Literal, TypeVar, assert_never

from msgspec import UNSET, Struct, UnsetType
from msgspec.structs import replace

from clew_events.content import ExpiresAfter, Metadata, ToolResources
from clew_events.events import (
    ErasedItemEvent,
    ErasedThreadEvent,
    ErasureCompleted,
    ErasureRequested,
    Event,
    ExpiryUpdated,
    ForkedFrom,
    HoldPlaced,
    HoldReleased,
    ItemAdded,
    ItemDeleted,
    ItemMetadataUpdated,
    ItemReplaced,
    ItemsCleared,
    MetadataUpdated,
    TenantEvent,
    ThreadCreated,
    ThreadDeleted,
    ThreadRestored,
    ToolResourcesUpdated,
    ordinal_of,
)

FOLD: Final = 1
"""The version of the fold. A change that gives other views for the same history takes the next number."""

Status = Literal["absent", "open", "deleted", "erased"]


class ThreadState(Struct, frozen=True, kw_only=True, gc=False):
    """The state of a thread that the business rules need.

    ``messages`` counts the items that exist, of all types; ``last_ordinal`` is the ordinal of the latest item ever
    added, and everything up to the ordinal ``cleared`` is deleted. ``holds`` are the names of its legal holds, and
    ``erasure`` is the id of the erasure that ended it. Of a fork, ``forked_from`` says what it inherits, which counts.
    """

    status: Status = "absent"
    metadata: Metadata = {}
    tool_resources: ToolResources = ToolResources()
    messages: int = 0
    last_ordinal: int = 0
    cleared: int = 0
    expires_after: ExpiresAfter | None = None
    holds: tuple[str, ...] = ()
    erasure: str | None = None
    forked_from: ForkedFrom | UnsetType = UNSET

    @property
    def inherited(self) -> int:
        """The last ordinal that is inherited from the thread that this one was forked from; 0 if it is no fork."""
        return 0 if isinstance(self.forked_from, UnsetType) else self.forked_from.ordinal


State = TypeVar("State", bound=ThreadState)


def evolve(state: State, event: Event) -> State:  # noqa: C901, PLR0912 - one case an event
    """Return the state after an event. Fields of subclasses stay as they are."""
    match event:
        case ThreadCreated():
            return _create(state, event.parent, event.metadata, event.tool_resources)
        case MetadataUpdated():
            return replace(state, metadata=apply_difference(state.metadata, event.set, event.unset))
        case ToolResourcesUpdated():
            return replace(state, tool_resources=event.tool_resources)
        case ExpiryUpdated():
            return replace(state, expires_after=event.expires_after)
        case ItemAdded():
            return replace(state, messages=state.messages + 1, last_ordinal=event.ordinal)
        case ItemReplaced() | ItemMetadataUpdated() | ErasureCompleted() | TenantEvent():
            return state
        case ItemDeleted():
            return replace(state, messages=state.messages - 1)
        case ItemsCleared():
            return replace(state, messages=0, cleared=state.last_ordinal)
        case ThreadDeleted():
            return replace(state, status="deleted")
        case ThreadRestored():
            return replace(state, status="open")
        case HoldPlaced():
            return replace(state, holds=(*state.holds, event.hold))
        case HoldReleased():
            return replace(state, holds=tuple(hold for hold in state.holds if hold != event.hold))
        case ErasureRequested():
            return state if event.items is not None else _erase(state, event.erasure)
        case ErasedThreadEvent():
            if event.effect != "creates":
                return state
            return _create(state, event.parent, state.metadata, state.tool_resources)
        case ErasedItemEvent():
            if event.effect != "creates":
                return state
            return replace(state, messages=state.messages + 1, last_ordinal=ordinal_of(event))
        case _:
            assert_never(event)


def _create(state: State, forked: ForkedFrom | None, metadata: Metadata, tool_resources: ToolResources) -> State:
    if forked is None:
        return replace(state, status="open", metadata=metadata, tool_resources=tool_resources)
    return replace(
        state,
        status="open",
        metadata=metadata,
        tool_resources=tool_resources,
        forked_from=forked,
        messages=forked.items,
        last_ordinal=forked.ordinal,
        cleared=forked.cleared,
    )


def _erase(state: State, erasure: str) -> State:
    return replace(
        state,
        status="erased",
        metadata={},
        tool_resources=ToolResources(),
        messages=0,
        cleared=state.last_ordinal,
        erasure=erasure,
    )


def apply_difference(metadata: Metadata, to_set: Metadata, to_unset: tuple[str, ...]) -> Metadata:
    """Return metadata after a recorded difference. Keys keep their place; new keys come last."""
    changed = {**metadata, **to_set}
    for key in to_unset:
        changed.pop(key, None)
    return changed
