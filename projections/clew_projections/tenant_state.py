"""What a tenant has ordered for its threads: policies of retention and standing legal holds. Pure.

They follow from the tenant's own history, which is stored as a thread's is, under the id
:data:`~clew_events.subjects.TENANT`. It is no thread: the view that the bucket stores of it has the status ``absent``.
"""

from __future__ import annotations

from functools import cached_property
from typing import assert_never

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from clew_events.codec import UNREADABLE
from clew_events.content import Anchor, Disposal
from clew_events.errors import Corrupt
from clew_events.events import (
    Event,
    RetentionRemoved,
    RetentionSet,
    StandingHoldPlaced,
    StandingHoldReleased,
    TenantEvent,
)
from clew_events.list_query import Condition


class RetentionPolicy(Struct, frozen=True, kw_only=True, dict=True):
    """What becomes of the threads that match ``where`` once they are ``after_days`` old.

    ``where`` is a condition of lists in JSON, and null where the policy is for all threads. The days count since a
    thread's first commit (``created``), since it was last ``changed``, or since its ``original`` was created. It
    is then deleted, and erased ``erase_after_days`` later if that is given; or erased at once.
    """

    name: str
    after_days: int
    since: Anchor
    where: str | None
    then: Disposal
    erase_after_days: int | None

    @cached_property
    def condition(self) -> Condition | None:
        """``where``, decoded.

        Raises:
            Corrupt: it is no condition.
        """
        return None if self.where is None else decode_condition(self.where)


class StandingHold(Struct, frozen=True, kw_only=True, dict=True):
    """A legal hold on all threads that match ``where``, a condition of lists in JSON, now and later."""

    name: str
    where: str

    @cached_property
    def condition(self) -> Condition:
        """``where``, decoded.

        Raises:
            Corrupt: it is no condition.
        """
        return decode_condition(self.where)


class TenantState(Struct, frozen=True, kw_only=True):
    """Policies and standing holds by name, as of commit ``n`` of the tenant's own history, at sequence ``seq``."""

    n: int = 0
    seq: int = 0
    policies: dict[str, RetentionPolicy] = {}
    holds: dict[str, StandingHold] = {}

    @property
    def conditions(self) -> list[Condition]:
        """The conditions of all policies and standing holds that have one.

        Raises:
            Corrupt: one of them cannot be read.
        """
        wanted = [policy.condition for policy in self.policies.values()]
        return [*(each for each in wanted if each is not None), *(hold.condition for hold in self.holds.values())]

    @property
    def empty(self) -> bool:
        """Whether the tenant has neither policies nor standing holds."""
        return not self.policies and not self.holds


def evolve_tenant(state: TenantState, event: Event) -> TenantState:
    """Return the state after an event."""
    if not isinstance(event, TenantEvent):
        return state
    match event:
        case RetentionSet():
            policy = RetentionPolicy(
                name=event.name,
                after_days=event.after_days,
                since=event.since,
                where=event.where,
                then=event.then,
                erase_after_days=event.erase_after_days,
            )
            return replace(state, policies={**state.policies, event.name: policy})
        case RetentionRemoved():
            return replace(state, policies={name: each for name, each in state.policies.items() if name != event.name})
        case StandingHoldPlaced():
            return replace(state, holds={**state.holds, event.hold: StandingHold(name=event.hold, where=event.where)})
        case StandingHoldReleased():
            return replace(state, holds={name: each for name, each in state.holds.items() if name != event.hold})
        case _:
            assert_never(event)


def encode_condition(condition: Condition) -> str:
    """Return a condition as a history stores it: the same text for the same condition."""
    return msgspec.json.encode(condition).decode()


def decode_condition(text: str) -> Condition:
    """Decode a stored condition.

    Raises:
        Corrupt: it is none.
    """
    try:
        return msgspec.json.decode(text, type=Condition)
    except UNREADABLE as fault:
        raise Corrupt(f"not a condition of lists: {fault}", code="unreadable_condition") from fault
