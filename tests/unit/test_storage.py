"""How much the embedded server may keep, in numbers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clew_services.embedded.storage import NEAR, Room

GB = 1024**3
SIZES = st.integers(0, 2**50)


def test_of_an_empty_disk_nine_tenths_may_be_taken():
    assert Room(taken=0, free=100 * GB, disk=200 * GB).limit(held=0) == 90 * GB


def test_a_disk_that_others_have_filled_keeps_its_last_megabytes():
    assert Room(taken=0, free=60 * 1024 * 1024, disk=200 * GB).spare == 0


@given(taken=SIZES, free=SIZES, others=SIZES, held=SIZES, written=SIZES)
def test_the_limit_stays_where_it_is_while_the_store_alone_grows(
    taken: int, free: int, others: int, held: int, written: int
):
    disk = taken + free + others
    before = Room(taken=taken, free=free, disk=disk)
    written = min(written, before.spare)
    after = Room(taken=taken + written, free=free - written, disk=disk)
    assert after.limit(held + written) == before.limit(held)
    assert after.free >= min(free, before.reserve)


@given(taken=SIZES, free=SIZES, held=SIZES)
def test_what_is_there_may_always_stay(taken: int, free: int, held: int):
    assert Room(taken=taken, free=free, disk=taken + free).limit(held) >= held


@pytest.mark.parametrize(
    ("limit", "spare", "held", "changed"),
    [
        (100 * GB, 90 * GB, 10 * GB, False),
        (100 * GB, 50 * GB, 10 * GB, False),  # it is far from either
        (100 * GB, NEAR // 2, 10 * GB, True),  # others have filled the disk
        (10 * GB + NEAR // 2, 50 * GB, 10 * GB, True),  # it is near the old limit, and others have made room
        (15 * GB, 50 * GB, 10 * GB, False),
        (10 * GB + NEAR, NEAR - 1024, 10 * GB, False),
        (10 * GB + NEAR, NEAR - 32 * 1024 * 1024, 10 * GB, True),
    ],
)
def test_a_limit_is_changed_where_it_matters(limit: int, spare: int, held: int, changed: bool):
    space = Room(taken=10 * GB, free=(spare + GB) * 10 // 9, disk=400 * GB)
    assert space.needs_change(limit, held) is changed
