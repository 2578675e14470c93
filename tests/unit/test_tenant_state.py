"""What a tenant has ordered, folded from its own history."""

from __future__ import annotations

import pytest

from clew_events.errors import Corrupt
from clew_events.events import Event, RetentionRemoved, RetentionSet, StandingHoldPlaced, StandingHoldReleased
from clew_events.list_query import Condition
from clew_projections.fold import ThreadState, evolve
from clew_projections.tenant_state import (
    RetentionPolicy,
    StandingHold,
    TenantState,
    decode_condition,
    encode_condition,
    evolve_tenant,
)
from support.commits import CREATED, added

GOLD = encode_condition(Condition.equal("plan", "gold"))
TRIALS = RetentionSet(name="trials", after_days=90, since="changed", then="delete", erase_after_days=30, where=GOLD)
HELD = StandingHoldPlaced(hold="case-8", where=GOLD)


def folded(*events: Event) -> TenantState:
    state = TenantState()
    for event in events:
        state = evolve_tenant(state, event)
    return state


def test_a_policy_is_what_its_event_says_and_a_later_one_of_its_name_takes_its_place() -> None:
    expected = RetentionPolicy(
        name="trials", after_days=90, since="changed", where=GOLD, then="delete", erase_after_days=30
    )
    assert folded(TRIALS).policies == {"trials": expected}
    later = RetentionSet(name="trials", after_days=7, since="created", then="erase", erase_after_days=None, where=None)
    (policy,) = folded(TRIALS, later).policies.values()
    assert (policy.after_days, policy.then, policy.condition) == (7, "erase", None)
    assert expected.condition == Condition.equal("plan", "gold")


def test_what_is_removed_or_released_is_gone_and_the_rest_stays() -> None:
    state = folded(TRIALS, HELD, StandingHoldPlaced(hold="case-9", where="{}"), RetentionRemoved(name="trials"))
    assert (state.policies, [*state.holds]) == ({}, ["case-8", "case-9"])
    left = evolve_tenant(state, StandingHoldReleased(hold="case-8"))
    assert left.holds == {"case-9": StandingHold(name="case-9", where="{}")}
    assert left.holds["case-9"].condition == Condition()
    assert not left.empty
    assert folded(HELD, StandingHoldReleased(hold="case-8")).empty


def test_events_of_threads_say_nothing_of_a_tenant_nor_the_other_way_round() -> None:
    assert folded(CREATED, added(1)) == TenantState()
    for event in (TRIALS, HELD, RetentionRemoved(name="trials"), StandingHoldReleased(hold="case-8")):
        assert evolve(ThreadState(), event) == ThreadState()


@pytest.mark.parametrize("text", ["", "[]", '{"plan": "gold"}', '{"messages": {"gt": "many"}}'])
def test_a_stored_filter_that_is_none_is_corrupt(text: str) -> None:
    with pytest.raises(Corrupt) as found:
        decode_condition(text)
    assert found.value.code == "unreadable_condition"
