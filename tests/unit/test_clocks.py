from __future__ import annotations

from datetime import UTC, datetime, timedelta

from clew_projections.clocks import is_within

NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


def test_a_time_in_the_future_holds_nothing_up():
    passed = {0: True, 59: True, 60: False, 86_400: False, -1: False, -86_400: False}
    assert {s: is_within(60.0, NOON - timedelta(seconds=s), NOON) for s in passed} == passed
