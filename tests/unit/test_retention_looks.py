"""Which clock is believed: two looks an hour apart, in a day without a jump."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from clew_services.retention.looks import Clocks, Looks, add_look

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
DAYS = timedelta(days=3)


def clocks(passed: timedelta, *, ahead: timedelta = timedelta(), boot: str = "first") -> Clocks:
    """The clocks when a time has passed, on a machine and a server that are ahead."""
    return Clocks(START + passed + ahead, START + passed + ahead, boot, passed.total_seconds())


def looks_at(*readings: Clocks, before: Looks | None = None) -> Looks:
    for reading in readings:
        before = add_look(before, reading, (int((reading.machine - START).total_seconds()),))
    assert before is not None
    return before


def every_half_hour(until: timedelta, *, since: timedelta = timedelta()) -> list[Clocks]:
    return [clocks(since + number * 30 * MINUTE) for number in range((until - since) // (30 * MINUTE) + 1)]


def test_nothing_is_believed_before_the_clock_has_run_for_a_day() -> None:
    assert looks_at(*every_half_hour(24 * HOUR)).agreed is None
    looks = looks_at(*every_half_hour(25 * HOUR))
    assert looks.agreed is not None
    assert looks.agreed.at == START + 24 * HOUR


def test_what_is_removed_was_due_at_a_look_at_least_an_hour_before() -> None:
    looks = looks_at(clocks(DAYS + 59 * MINUTE), before=looks_at(*every_half_hour(DAYS)))
    assert looks.agreed is not None
    assert looks.agreed.at == START + DAYS - 30 * MINUTE
    assert looks.agreed.has(0, int((DAYS - 30 * MINUTE).total_seconds()))
    assert not looks.agreed.has(0, int(DAYS.total_seconds()))


@pytest.mark.parametrize("ahead", [timedelta(days=1), timedelta(days=-1), 10 * MINUTE, -10 * MINUTE])
def test_a_clock_that_jumps_is_believed_again_after_a_day(ahead: timedelta) -> None:
    before = looks_at(*every_half_hour(DAYS))
    after = looks_at(clocks(DAYS + MINUTE, ahead=ahead), before=before)
    assert before.agreed is not None
    assert after.agreed is None
    assert after.believed_at == START + DAYS + MINUTE + ahead + 25 * HOUR


def test_a_machine_that_differs_from_the_server_is_not_believed() -> None:
    before = looks_at(*every_half_hour(DAYS))
    now = clocks(DAYS + MINUTE)
    apart = Clocks(now.machine + HOUR, now.log, now.boot, now.up)
    assert apart.now == now.log
    assert looks_at(apart, before=before).agreed is None
    # Even if they differ for long.
    steady = [Clocks(each.machine + HOUR, each.log, each.boot, each.up) for each in every_half_hour(DAYS)]
    assert looks_at(*steady).agreed is None


def test_a_process_that_was_stopped_for_days_goes_on_if_the_machine_was_up() -> None:
    before = looks_at(*every_half_hour(DAYS))
    assert looks_at(clocks(2 * DAYS), before=before).agreed is not None


def test_another_machine_goes_on_if_not_much_time_has_passed() -> None:
    before = looks_at(*every_half_hour(DAYS))
    assert looks_at(clocks(DAYS + 20 * MINUTE, boot="second"), before=before).agreed is not None
    assert looks_at(clocks(DAYS + HOUR, boot="second"), before=before).agreed is None


def test_few_looks_are_kept() -> None:
    looks = looks_at(*(clocks(number * MINUTE) for number in range(3000)))
    assert len(looks.recent) <= 14
