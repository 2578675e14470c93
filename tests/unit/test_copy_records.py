"""A certificate names those copies that were made of what an erasure took, and not taken clean since."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace

from clew_events.events import ErasureRequested, ThreadDeleted
from clew_projections.integrity.erasure_extent import Extent, ExtentFold
from clew_services.erasure.copy_records import NAMED, CopyRecord, name_copies
from support.commits import CREATED, NOON, added, chain

REQUEST = ErasureRequested(erasure="erasure_1", items=None, code=None)
HISTORY = chain([CREATED], [added(1)], [ThreadDeleted(), REQUEST], first_seq=7)
ASKED = HISTORY[-1].commit.at
GONE = ASKED + timedelta(seconds=5)
BACKUP = CopyRecord(kind="backup", place="host:/backup", made_at=NOON - timedelta(days=1), ends=(7,))
PACK = replace(BACKUP, kind="pack", tenant="default", thread=HISTORY[0].commit.thread)


@pytest.fixture
def extent() -> Extent:
    fold = ExtentFold(REQUEST)
    for each in HISTORY[:-1]:
        fold.add(each)
    return Extent(HISTORY[-1], REQUEST, fold.contents, fold.taken)


def test_a_copy_has_what_was_in_the_log_when_it_was_made(extent: Extent) -> None:
    having = [
        *(
            BACKUP,
            replace(BACKUP, made_at=ASKED + timedelta(seconds=1)),
            replace(BACKUP, erased_at=NOON - timedelta(1)),
        ),
        *(PACK, replace(PACK, thread=None), replace(PACK, tenant=None, thread=None)),
    ]
    lacking = [
        *(replace(BACKUP, ends=(6,)), replace(BACKUP, ends=()), replace(BACKUP, erased_at=GONE)),
        *(replace(BACKUP, made_at=GONE + timedelta(seconds=1)), replace(PACK, made_at=ASKED + timedelta(seconds=1))),
        *(replace(PACK, tenant="other"), replace(PACK, thread="another")),
    ]
    assert [each.has(extent, GONE) for each in having] == [True] * len(having)
    assert [each.has(extent, GONE) for each in lacking] == [False] * len(lacking)


def test_the_newest_are_named_and_the_others_are_counted(extent: Extent) -> None:
    copies = [replace(BACKUP, place=f"host:/{number}") for number in range(NAMED + 2)]
    named = list(name_copies(copies, extent, GONE))
    assert named[0] == f"the backup of {BACKUP.made_at:%Y-%m-%d %H:%M:%S} UTC in host:/21, unless it was deleted"
    assert (len(named), named[-1]) == (
        NAMED + 1,
        "2 older backups, packs and reports on record, unless they were deleted",
    )
    assert list(name_copies([], extent, GONE)) == []
