"""The record of generations: what may become of one."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from clew_events.errors import Conflict, Corrupt, Invalid, NotFound
from clew_projections.generations.record import (
    Record,
    before,
    begin_build,
    begin_removal,
    decode,
    end_removal,
    first,
    switch_to,
)

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
FIRST = first(1, NOON)


def built(record: Record) -> Record:
    began = begin_build(record, 1, NOON)
    assert began.building is not None
    return switch_to(began, began.building.number, NOON)


def standings(record: Record) -> dict[int, str]:
    return {each.number: each.standing for each in record.generations}


def test_a_deployment_begins_with_one_generation_that_is_live() -> None:
    assert (FIRST.live, FIRST.last, standings(FIRST)) == (1, 1, {1: "kept"})


def test_what_is_being_built_is_gone_on_with_and_not_begun_twice() -> None:
    record = begin_build(FIRST, 1, NOON)
    assert (record.live, standings(record)) == (1, {1: "kept", 2: "building"})
    assert begin_build(record, 1, NOON) == record


def test_another_fold_waits_until_what_is_being_built_is_finished_or_given_up() -> None:
    record = begin_build(FIRST, 1, NOON)
    with pytest.raises(Conflict, match="rebuild remove 2"):
        begin_build(record, 2, NOON)
    given_up = end_removal(begin_removal(record, 2), 2)
    assert standings(begin_build(given_up, 2, NOON)) == {1: "kept", 3: "building"}


def test_a_number_is_given_once() -> None:
    record = end_removal(begin_removal(switch_to(built(FIRST), 1, NOON), 2), 2)
    assert standings(record) == {1: "kept"}
    assert begin_build(record, 1, NOON).last == 3


def test_the_live_generation_is_not_removed() -> None:
    with pytest.raises(Invalid, match="live"):
        begin_removal(FIRST, 1)


def test_one_on_its_way_out_is_not_switched_to_and_only_such_a_one_goes() -> None:
    record = begin_removal(built(FIRST), 1)
    with pytest.raises(Invalid, match="removed"):
        switch_to(record, 1, NOON)
    assert end_removal(record, 2) == record
    assert standings(end_removal(record, 1)) == {2: "kept"}


def test_back_is_to_the_nearest_one_before_or_failing_that_the_nearest_after() -> None:
    third = built(built(FIRST))
    assert before(third) == 2
    assert before(switch_to(third, 1, NOON)) == 2
    with pytest.raises(NotFound):
        before(FIRST)
    with pytest.raises(NotFound):
        before(begin_build(FIRST, 1, NOON))


@pytest.mark.parametrize("body", [b"", b"{}", b"null", msgspec.json.encode(msgspec.structs.replace(FIRST, live=9))])
def test_a_record_that_cannot_be_is_corrupt(body: bytes) -> None:
    with pytest.raises(Corrupt, match="backup"):
        decode(body)
    assert decode(msgspec.json.encode(FIRST)) == FIRST
