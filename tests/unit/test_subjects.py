from __future__ import annotations

import fnmatch

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clew_events import subjects
from clew_events.ids import TENANT_PATTERN, THREAD_ID_PATTERN
from clew_events.subjects import Address

THREAD = "thread_0000000000000000000clew"


@pytest.mark.parametrize(
    ("thread", "of_one", "of_four", "of_sixty_four"),
    [
        (THREAD, 0, 1, 57),
        ("thread_abc", 0, 1, 17),
        ("thread_AbCdEfGhIjKlMnOpQrStUvWx", 0, 2, 14),
    ],
)
def test_a_threads_shard_is_the_same_for_ever(thread: str, of_one: int, of_four: int, of_sixty_four: int) -> None:
    assert [subjects.shard_of(thread, shards) for shards in (1, 4, 64)] == [of_one, of_four, of_sixty_four]


def test_shards_fill_evenly() -> None:
    counts = [0] * 4
    for number in range(4000):
        counts[subjects.shard_of(f"thread_{number}", 4)] += 1
    assert min(counts) > 900


def test_every_subject_is_where_the_contract_says() -> None:
    address = Address("default", THREAD)
    assert subjects.event_stream(3) == "CLEW_EVT_03"
    assert subjects.event_subject(3, address) == f"clew.evt.03.default.{THREAD}"
    assert subjects.shard_subjects(3) == "clew.evt.03.*.*"
    assert subjects.command_subject("acme", "create_thread") == "clew.cmd.acme.create_thread"
    assert subjects.query_subject("acme", "get_thread") == "clew.query.acme.get_thread"
    assert subjects.inbox_subject("acme", "create_thread") == "clew.inbox.acme.create_thread"
    assert subjects.rejected_subject("acme", "create_thread", "inbox-7") == "clew.rejected.acme.create_thread.inbox-7"
    assert (subjects.INBOX_STREAM, subjects.REJECTED_STREAM) == ("CLEW_INBOX", "CLEW_REJECTED")
    assert subjects.LIVE == "clew.live"


@given(
    st.integers(0, subjects.MAX_SHARDS - 1),
    st.from_regex(TENANT_PATTERN, fullmatch=True),
    st.from_regex(THREAD_ID_PATTERN, fullmatch=True),
)
def test_a_subject_leads_back_to_the_thread_and_is_taken_in_by_its_shard_alone(
    shard: int, tenant: str, thread: str
) -> None:
    subject = subjects.event_subject(shard, Address(tenant, thread))
    assert subjects.address_of(subject) == Address(tenant, thread)
    taken_by = [s for s in range(subjects.MAX_SHARDS) if fnmatch.fnmatchcase(subject, subjects.shard_subjects(s))]
    assert taken_by == [shard]
    assert subject.count(".") == 4
