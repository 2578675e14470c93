"""Where a sweep ends: the most single deletions are saved, and no content can be left in a block."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from clew_services.erasure.log_sweep import NoSweep, Plan, Survey, SweepRule, plan


class Item(Struct, frozen=True):
    """A commit: the bytes that it takes, and whether it has contents, and loses them."""

    size: int
    full: bool
    due: bool


items = st.builds(
    lambda size, full, due: Item(size, full, full and due), st.integers(1, 9), st.booleans(), st.booleans()
)
rules = st.builds(SweepRule, block=st.integers(0, 30), remnant=st.integers(0, 15), least=st.just(1))


def survey_of(commits: list[Item]) -> Survey:
    return Survey(
        array("Q", range(11, 11 + 2 * len(commits), 2)),
        array("Q", (each.size for each in commits)),
        bytearray(each.full for each in commits),
        bytearray(each.due for each in commits),
        limit=11 + 2 * len(commits),
    )


def plain(commits: list[Item], place: int, rule: SweepRule) -> tuple[list[int], float]:
    """What is deleted singly for a sweep up to a place, and what it gains, by their definitions."""
    deletions = []
    for at in range(place):
        there = commits[at:place]
        bare = sum(each.size for each in there[1:] if not each.full)
        if sum(each.size for each in there) <= rule.block and bare <= rule.remnant:
            deletions.append(at)
    due = sum(each.due for each in commits[:place])
    singly = sum(commits[at].full for at in deletions)
    return deletions, due - singly - place / rule.copies


@given(st.lists(items, max_size=30), rules)
def test_a_sweep_ends_where_most_is_saved_and_what_the_server_may_leave_is_deleted_singly(
    commits: list[Item], rule: SweepRule
) -> None:
    survey = survey_of(commits)
    try:
        found: Plan | None = plan(survey, rule)
    except NoSweep:
        found = None
    gains = [plain(commits, place, rule)[1] for place in range(1, len(commits) + 1)]
    if found is None:
        assert max(gains, default=0.0) < rule.least
        return
    deletions, gain = plain(commits, found.count, rule)
    assert gain == pytest.approx(max(gains))
    assert list(found.deletions) == deletions
    assert found.until == 11 + 2 * found.count
    assert found.saved == round(gain + found.count / rule.copies)


def test_nothing_is_swept_where_nothing_can_be() -> None:
    with pytest.raises(NoSweep):
        plan(survey_of([]), SweepRule(least=0))


def test_a_sweep_that_copies_much_to_save_little_does_not_pay() -> None:
    due, stays = Item(1, True, True), Item(1, True, False)
    rule = SweepRule(block=0, remnant=0, least=3)
    assert plan(survey_of([*[due] * 4, *[stays] * 40]), rule).count == 4
    with pytest.raises(NoSweep, match="a sweep would save 3 single deletions"):
        plan(survey_of([*[stays] * 40, *[due] * 3]), rule)
