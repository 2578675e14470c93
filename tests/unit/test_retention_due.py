"""When a thread is due, how, and by which rule."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from clew_events.content import ExpiresAfter
from clew_events.list_query import Condition
from clew_projections.index.match import MatchedThread
from clew_projections.tenant_state import RetentionPolicy, StandingHold, TenantState, encode_condition
from clew_projections.views import ThreadView
from clew_services.retention.due import Removal, agree, judge

DAY = timedelta(days=1)
CREATED = datetime(2026, 1, 1, 12, tzinfo=UTC)
CHANGED = CREATED + 5 * DAY
TRIAL = encode_condition(Condition.equal("plan", "trial"))


def policy(name: str, after_days: int, **fields: Any) -> RetentionPolicy:
    rest = {"since": "created", "where": None, "then": "delete", "erase_after_days": None, **fields}
    return RetentionPolicy(name=name, after_days=after_days, **rest)


def thread(**fields: Any) -> ThreadView:
    times = {"created_at": CREATED, "updated_at": CHANGED + DAY, "last_active_at": CHANGED}
    return ThreadView(**{"id": "thread_1", "tenant": "acme", "status": "open", **times, **fields})


def removals(view: ThreadView, *policies: RetentionPolicy) -> list[Removal]:
    return [*judge(MatchedThread(view), TenantState(policies={each.name: each for each in policies})).removals]


def test_days_count_from_the_creation_or_from_the_latest_use() -> None:
    assert removals(thread(), policy("old", 90), policy("idle", 30, since="changed")) == [
        Removal("delete", CHANGED + 30 * DAY, "idle"),
        Removal("delete", CREATED + 90 * DAY, "old"),
    ]


def test_what_a_thread_says_itself_deletes_it_and_nothing_erases_it_without_a_policy() -> None:
    own = {"expires_after": ExpiresAfter("created_at", 7)}
    assert removals(thread(**own)) == [Removal("delete", CREATED + 7 * DAY, None)]
    assert removals(thread(**own, status="deleted", deleted_at=CHANGED)) == []


@pytest.mark.parametrize("status", ["open", "deleted"])
def test_a_policy_that_erases_erases_what_is_there_and_what_was_deleted(status: str) -> None:
    found = removals(thread(status=status, deleted_at=CHANGED), policy("all", 10, then="erase"))
    assert found == [Removal("erase", CREATED + 10 * DAY, "all")]


def test_a_deleted_thread_is_erased_some_days_after_it_was_deleted() -> None:
    both = policy("both", 10, erase_after_days=30)
    assert removals(thread(), both) == [Removal("delete", CREATED + 10 * DAY, "both")]
    deleted = CREATED + 12 * DAY
    gone = Removal("erase", deleted + 30 * DAY, "both")
    assert removals(thread(status="deleted", deleted_at=deleted), both) == [gone]


def test_who_deletes_a_thread_early_has_it_erased_no_earlier_than_the_policy_would_and_no_later() -> None:
    early = thread(status="deleted", deleted_at=CREATED + DAY)
    assert removals(early, policy("both", 10, erase_after_days=30)) == [Removal("erase", CREATED + 40 * DAY, "both")]


def test_a_policy_that_deletes_has_nothing_to_do_with_what_is_deleted() -> None:
    assert removals(thread(status="deleted", deleted_at=CHANGED), policy("old", 1)) == []


@pytest.mark.parametrize("status", ["absent", "erased"])
def test_what_never_was_or_was_erased_is_never_due(status: str) -> None:
    assert removals(thread(status=status), policy("all", 1, then="erase")) == []


def test_a_policy_is_for_the_threads_that_match_its_filter_deleted_or_not() -> None:
    trials = policy("trials", 1, where=TRIAL, then="erase")
    assert removals(thread(), trials) == []
    for status in ("open", "deleted"):
        assert removals(thread(status=status, metadata={"plan": "trial"}), trials) != []


def test_holds_on_the_thread_and_standing_ones_that_cover_it_keep_it() -> None:
    rules = TenantState(
        policies={"old": policy("old", 1)},
        holds={"case-8": StandingHold(name="case-8", where=TRIAL)},
    )
    assert judge(MatchedThread(thread()), rules).holds == ()
    assert judge(MatchedThread(thread(metadata={"plan": "trial"}, holds=("case-7",))), rules).holds == (
        "case-7",
        "case-8",
    )


def test_an_erasure_that_is_due_goes_before_a_deletion_that_is_due_longer() -> None:
    rules = TenantState(policies={"soon": policy("soon", 1), "gone": policy("gone", 3, then="erase")})
    verdict = judge(MatchedThread(thread()), rules)
    assert verdict.due(CREATED + DAY - timedelta(microseconds=1)) is None
    assert verdict.due(CREATED + DAY) == Removal("delete", CREATED + DAY, "soon")
    assert verdict.due(CREATED + 3 * DAY) == Removal("erase", CREATED + 3 * DAY, "gone")


def test_two_looks_agree_only_about_what_was_due_and_not_held_at_both() -> None:
    rules = TenantState(policies={"old": policy("old", 1)})
    at = CREATED + 2 * DAY
    due, held, gone = (
        judge(MatchedThread(each), rules)
        for each in (thread(), thread(holds=("case-7",)), thread(status="deleted", deleted_at=CHANGED))
    )
    assert agree(due, due, at) == Removal("delete", CREATED + DAY, "old")
    assert agree(due, held, at) is None  # released since
    assert agree(due, gone, at) is None  # restored since
    assert agree(held, due, at) is None
    assert agree(due, due, CREATED) is None
