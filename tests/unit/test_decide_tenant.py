"""The rules of what a tenant orders for its threads."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from clew_events.commands import OnTenant, PlaceStandingHold, ReleaseStandingHold, RemoveRetention, SetRetention
from clew_events.errors import AlreadyExists, Invalid, NotFound, Rejected
from clew_events.events import Event, RetentionRemoved, RetentionSet, StandingHoldPlaced, StandingHoldReleased
from clew_events.list_query import Condition, HoldTest
from clew_events.list_reply import Count
from clew_projections.tenant_state import TenantState, encode_condition, evolve_tenant
from clew_services.threads.tenant_rules import MAX_HOLDS, MAX_POLICIES, Impact, decide_tenant
from clew_services.validation.rules import check_command

GOLD = Condition.equal("plan", "gold")
SOME = Impact(everything=False, threads=Count(3, exact=True), due=Count(1, exact=True), holds=())
ALL = Impact(everything=True, threads=Count(10_000, exact=False), due=Count(7, exact=True), holds=("case-7",))
TRIALS = SetRetention(name="trials", after_days=90, since="changed", then="delete", erase_after_days=30, where=GOLD)
TRIALS_SET = RetentionSet(
    name="trials", after_days=90, since="changed", then="delete", erase_after_days=30, where=encode_condition(GOLD)
)
PLACE = PlaceStandingHold(hold="case-8", where=GOLD)
PLACED = StandingHoldPlaced(hold="case-8", where=encode_condition(GOLD))
RELEASED = StandingHoldReleased(hold="case-8")


def decided(command: OnTenant, *before: Event, impact: Impact | None = SOME) -> tuple[Event, ...]:
    state = TenantState()
    for event in before:
        state = evolve_tenant(state, event)
    return decide_tenant(command, state, impact)


def refused(command: OnTenant, *before: Event, impact: Impact | None = SOME) -> Rejected:
    with pytest.raises(Rejected) as fault:
        decided(command, *before, impact=impact)
    return fault.value


def test_a_policy_is_set_and_takes_the_place_of_one_of_its_name() -> None:
    assert decided(TRIALS) == (TRIALS_SET,)
    other = replace(TRIALS, after_days=7)
    assert decided(other, TRIALS_SET) == (replace(TRIALS_SET, after_days=7),)


def test_a_policy_that_is_there_already_is_not_set_again_confirmed_or_not() -> None:
    for impact in (SOME, ALL, None):
        assert decided(TRIALS, TRIALS_SET, impact=impact) == ()


@pytest.mark.parametrize("where", [None, GOLD], ids=["all", "as it happens"])
def test_a_policy_for_all_threads_is_refused_with_their_numbers_until_it_is_confirmed(where: Condition | None) -> None:
    command = replace(TRIALS, where=where)
    fault = refused(command, impact=ALL)
    assert (type(fault), fault.code, fault.param) == (Invalid, "removes_all", "confirm")
    assert "for all at least 10000 threads of the tenant, and would delete 7 of them now" in fault.message
    assert "no index of threads can be asked" in refused(command, impact=None).message
    for impact in (ALL, None):
        assert decided(replace(command, confirm=True), impact=impact)


def test_a_policy_is_removed_once() -> None:
    remove = RemoveRetention(name="trials")
    assert decided(remove, TRIALS_SET) == (RetentionRemoved(name="trials"),)
    for before in ((), (TRIALS_SET, RetentionRemoved(name="trials"))):
        fault = refused(remove, *before)
        assert (type(fault), fault.code, fault.param) == (NotFound, "retention_not_found", "name")


def test_there_is_an_end_to_policies_but_not_to_changes_of_them() -> None:
    many = [replace(TRIALS_SET, name=f"policy-{number}") for number in range(MAX_POLICIES)]
    assert refused(TRIALS, *many).code == "too_many_policies"
    assert decided(replace(TRIALS, name="policy-7", after_days=1), *many)


def test_what_is_erased_is_not_erased_again_later() -> None:
    check_command(TRIALS)
    with pytest.raises(Invalid) as fault:
        check_command(replace(TRIALS, then="erase"))
    assert fault.value.param == "erase_after_days"


def test_a_standing_hold_is_placed_once_and_never_changed_into_another() -> None:
    assert decided(PLACE) == (PLACED,)
    assert decided(PLACE, PLACED) == ()
    fault = refused(replace(PLACE, where=Condition()), PLACED)
    assert (type(fault), fault.code, fault.param) == (AlreadyExists, "already_exists", "hold")
    assert decided(replace(PLACE, where=Condition()), PLACED, RELEASED)


def test_a_standing_hold_is_released_once() -> None:
    release = ReleaseStandingHold(hold="case-8")
    assert decided(release, PLACED) == (RELEASED,)
    for before in ((), (PLACED, RELEASED), (replace(PLACED, hold="case-9"),)):
        fault = refused(release, *before)
        assert (type(fault), fault.code, fault.param) == (NotFound, "hold_not_found", "hold")


def test_there_is_an_end_to_standing_holds() -> None:
    many = [replace(PLACED, hold=f"case-{number}") for number in range(MAX_HOLDS)]
    assert refused(replace(PLACE, hold="case-1000"), *many).code == "too_many_holds"
    assert decided(PLACE, *many) == ()


def test_the_filter_of_a_hold_is_checked_as_that_of_a_list() -> None:
    with pytest.raises(Invalid) as fault:
        check_command(replace(PLACE, where=Condition(hold=HoldTest())))
    assert fault.value.param == "where.hold"
