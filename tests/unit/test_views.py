"""Views: a thread, and its messages, commit by commit."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from clew_events.commit import Recorded
from clew_events.content import Attachment, ExpiresAfter, ExpiryAnchor, Provenance, Tool, ToolResources
from clew_events.errors import Corrupt
from clew_events.events import (
    ErasedItemEvent,
    ErasedThreadEvent,
    ErasureCompleted,
    ErasureRequested,
    Event,
    ExpiryUpdated,
    HoldPlaced,
    HoldReleased,
    ItemDeleted,
    ItemMetadataUpdated,
    ItemReplaced,
    ItemsCleared,
    MetadataUpdated,
    ThreadDeleted,
    ThreadRestored,
    ToolResourcesUpdated,
    type_of,
)
from clew_events.ids import item_id
from clew_projections.apply import REMEMBERED_COMMANDS, advance, fold_items, is_activity, item_ids
from clew_projections.views import SpentId, ThreadView, absent, decode_stored, decode_thread, encode
from support.commits import CREATED, NOON, THREAD, added, advance_one, chain, commit

FIRST = added(1).item


def folded(records: list[Recorded]) -> ThreadView:
    view = absent("default", THREAD)
    for each in records:
        view = advance(view, each)
    return view


def test_a_view_stands_where_its_last_commit_stands() -> None:
    records = chain([CREATED], [added(1)], [MetadataUpdated(set={"a": "1"}, unset=())], first_seq=40)
    view = folded(records)
    assert (view.n, view.seq, view.hash) == (3, 42, records[2].hash)
    assert (view.metadata, view.messages, view.last_ordinal) == ({"a": "1"}, 1, 1)


def test_a_view_is_as_old_as_the_first_commit_and_as_young_as_the_latest() -> None:
    view = folded(chain([CREATED], [added(1)], [added(2)]))
    assert view.created_at == NOON + timedelta(seconds=1)
    assert view.updated_at == NOON + timedelta(seconds=3)


def active(*commits: list[Event]) -> int:
    """The number of the commit by which a thread was last active."""
    at = folded(chain(*commits)).last_active_at
    assert at is not None
    return (at - NOON) // timedelta(seconds=1)


@pytest.mark.parametrize(
    "event",
    [
        MetadataUpdated(set={"a": "1"}, unset=()),
        ToolResourcesUpdated(tool_resources=ToolResources()),
        ExpiryUpdated(expires_after=None),
        added(2),
        ItemMetadataUpdated(item=FIRST, set={"a": "1"}, unset=()),
        ItemReplaced(item=FIRST, message=added(1).message),
        ItemDeleted(item=FIRST),
        ItemsCleared(),
        ErasedThreadEvent(of="MetadataUpdated", seal="0" * 64),
        ErasedItemEvent(of="ItemMetadataUpdated", item=FIRST, seal="0" * 64),
    ],
    ids=type_of,
)
def test_who_changes_a_thread_makes_use_of_it_whether_that_was_erased_or_not(event: Event) -> None:
    assert is_activity(commit(2, event))


def test_deleting_holding_and_erasing_is_no_use_of_a_thread_and_restoring_is() -> None:
    assert active([CREATED], [ThreadDeleted()]) == 1
    assert active([CREATED], [ThreadDeleted()], [ThreadRestored()]) == 3
    assert active([CREATED], [HoldPlaced(hold="case-7")], [HoldReleased(hold="case-7")]) == 1
    asked = ErasureRequested(erasure="erasure_1", items=(FIRST,), code=None)
    done = ErasureCompleted(erasure="erasure_1", certificate="0" * 64)
    assert active([CREATED, added(1)], [ItemDeleted(item=FIRST), asked], [done]) == 1


def test_a_thread_is_due_by_its_creation_or_its_last_use_if_it_is_open_and_expires_at_all() -> None:
    events: tuple[list[Event], ...] = ([CREATED], [added(1)], [HoldPlaced(hold="case-7")])

    def due(anchor: ExpiryAnchor, days: int, *more: list[Event]) -> datetime | None:
        return folded(chain(*events, [ExpiryUpdated(expires_after=ExpiresAfter(anchor, days))], *more)).expires_at

    assert folded(chain(*events)).expires_at is None
    assert due("created_at", 30) == NOON + timedelta(days=30, seconds=1)
    assert due("last_active_at", 1) == NOON + timedelta(days=1, seconds=4)
    assert due("last_active_at", 1, [added(2)]) == NOON + timedelta(days=1, seconds=5)
    assert due("created_at", 1, [ThreadDeleted()]) is None
    assert due("created_at", 1, [ThreadDeleted()], [ThreadRestored()]) == NOON + timedelta(days=1, seconds=1)
    assert due("created_at", 1, [ExpiryUpdated(expires_after=None)]) is None


def test_an_imported_thread_shows_when_it_was_created_and_expires_by_when_it_was_imported() -> None:
    before, imported_at = NOON - timedelta(days=400), NOON + timedelta(seconds=1)
    created = replace(CREATED, imported=Provenance("chatgpt", "1", "0" * 64, before))
    expiry = ExpiryUpdated(expires_after=ExpiresAfter("created_at", 30))
    history = chain([created, replace(added(1), created_at=before), expiry], [added(2)])
    view = folded(history)
    assert (view.created_at, view.recorded_at) == (before, imported_at)
    assert view.expires_at == imported_at + timedelta(days=30)
    items = fold_items((1, 2), history)
    assert [items[1].created_at, items[2].created_at] == [before, NOON + timedelta(seconds=2)]
    late = replace(CREATED, imported=Provenance("chatgpt", "1", "0" * 64, NOON + timedelta(days=1)))
    assert folded(chain([late])).created_at == imported_at


def test_a_thread_of_a_clock_at_the_end_of_the_calendar_is_due_then() -> None:
    view = ThreadView(
        id=THREAD, tenant="default", status="open", created_at=datetime.max.replace(tzinfo=UTC) - timedelta(days=1)
    )
    assert replace(view, expires_after=ExpiresAfter("created_at", 36_500)).expires_at == datetime.max.replace(
        tzinfo=UTC
    )


def test_all_events_of_a_commit_are_applied_in_order() -> None:
    view = folded(chain([CREATED, added(1), added(2), ItemDeleted(item=FIRST)]))
    assert (view.n, view.messages, view.last_ordinal) == (1, 1, 2)


def test_a_deleted_thread_keeps_its_view() -> None:
    view = folded(chain([CREATED], [added(1)], [ThreadDeleted()]))
    assert (view.status, view.n, view.messages) == ("deleted", 3, 1)


def test_the_ids_behind_the_last_hundred_commits_are_remembered_and_no_older_one() -> None:
    records = chain([CREATED], *([added(n)] for n in range(1, 105)))
    view = folded(records)
    assert len(view.commands) == REMEMBERED_COMMANDS == 100
    assert view.find_spent("cmd_5") is None
    for record in records[5:]:
        made = record.commit
        assert view.find_spent(made.id) == (made.n, SpentId(made.id, record.position.seq))


def test_an_id_that_was_never_spent_is_not_found() -> None:
    assert folded(chain([CREATED])).find_spent("cmd_other") is None
    assert absent("default", THREAD).find_spent("cmd_1") is None


@pytest.mark.parametrize(
    ("what", "wrong"),
    [("tenant", "other"), ("thread", "thread_other"), ("n", 4), ("n", 2), ("prev", None), ("prev", "0" * 64)],
)
def test_a_commit_that_is_not_the_next_link_is_corrupt_and_the_difference_is_named(what: str, wrong: object) -> None:
    records = chain([CREATED], [added(1)], [added(2)])
    view = folded(records[:2])
    bad = Recorded(replace(records[2].commit, **{what: wrong}), records[2].position, records[2].hash)
    with pytest.raises(Corrupt) as fault:
        advance(view, bad)
    assert fault.value.code == "broken_chain"
    assert THREAD in fault.value.message
    assert f"{what} {wrong!r}" in fault.value.message
    assert "sequence 3" in fault.value.message
    assert view == folded(records[:2])


def test_a_first_commit_with_a_predecessor_is_corrupt() -> None:
    (first,) = chain([CREATED])
    with pytest.raises(Corrupt, match="prev"):
        advance(absent("default", THREAD), replace(first, commit=replace(first.commit, prev="f" * 64)))


@pytest.mark.parametrize("wrong", ["m 1", "msg_!!!!!!aaaaaaaaaaaaaaaaaa", "m" * 65, ""])
def test_an_item_under_what_is_no_id_is_corrupt(wrong: str) -> None:
    records = chain([CREATED], [replace(added(1), item=wrong)])
    with pytest.raises(Corrupt) as fault:
        folded(records)
    assert fault.value.code == "unknown_message"


@pytest.mark.parametrize(
    "event",
    [
        ItemDeleted(item="m1"),
        ItemMetadataUpdated(item="msg_?", set={}, unset=()),
        ItemDeleted(item=item_id(2, "made")),
    ],
)
def test_a_change_of_a_message_that_cannot_be_there_is_corrupt(event: Event) -> None:
    with pytest.raises(Corrupt) as fault:
        folded(chain([CREATED], [added(1)], [event]))
    assert fault.value.code == "unknown_message"


def test_a_message_out_of_order_is_corrupt() -> None:
    with pytest.raises(Corrupt) as fault:
        folded(chain([CREATED], [added(1)], [added(3)]))
    assert fault.value.code == "unknown_message"


def test_the_messages_a_commit_touches_are_each_named_once() -> None:
    change = ItemMetadataUpdated(item=FIRST, set={"a": "1"}, unset=())
    made = commit(1, CREATED, added(1), added(2), change, ItemDeleted(item=FIRST))
    assert item_ids(made) == (FIRST, added(2).item)
    assert item_ids(commit(1, CREATED, ThreadDeleted())) == ()


def test_a_message_begins_as_it_was_added() -> None:
    message = replace(added(1).message, role="assistant", attachments=(Attachment("file-1", (Tool("file_search"),)),))
    view = advance_one(None, FIRST, commit(4, added(2), replace(added(1), message=message)))
    assert (view.id, view.thread, view.ordinal, view.n) == (FIRST, THREAD, 1, 4)
    assert (view.message, view.body, view.metadata) == (message, None, {})
    assert view.created_at == NOON + timedelta(seconds=4)
    assert not view.deleted


def test_a_changed_message_keeps_its_beginning() -> None:
    born = advance_one(None, FIRST, commit(1, added(1, metadata={"a": "1", "b": "2"})))
    change = ItemMetadataUpdated(item=FIRST, set={"c": "3"}, unset=("a",))
    changed = advance_one(born, FIRST, commit(2, change))
    assert changed == replace(born, n=2, message=replace(born.message, metadata={"b": "2", "c": "3"}))


def test_a_deleted_message_leaves_an_empty_place() -> None:
    born = advance_one(None, FIRST, commit(1, added(1, metadata={"a": "1"})))
    gone = advance_one(born, FIRST, commit(2, ItemDeleted(item=FIRST)))
    assert gone == replace(born, n=2, message=None, deleted=True)


def test_a_commit_a_message_already_contains_changes_nothing() -> None:
    change = ItemMetadataUpdated(item=FIRST, set={"a": "2"}, unset=())
    born = advance_one(None, FIRST, commit(1, added(1, metadata={"a": "1"})))
    changed = advance_one(born, FIRST, commit(2, change))
    assert advance_one(changed, FIRST, commit(1, added(1))) is changed
    assert advance_one(changed, FIRST, commit(2, change)) is changed


def test_a_commit_about_another_message_does_not_make_one() -> None:
    with pytest.raises(Corrupt) as fault:
        advance_one(None, FIRST, commit(2, ItemDeleted(item=FIRST)))
    assert fault.value.code == "unknown_message"
    assert FIRST in fault.value.message


def test_a_view_of_a_thread_comes_back_from_the_bucket_as_it_went_in() -> None:
    view = folded(chain([CREATED], [added(1)], [ThreadDeleted()]))
    assert decode_thread(encode(view)) == view


@pytest.mark.parametrize(
    "garbage",
    [b"{", b"[]", b"\xff", b'{"id":"\xff"}', b'{"id":1}', b"null", b'{"a":' * 100_000],
    ids=lambda garbage: repr(garbage[:9]),
)
def test_bytes_that_are_no_view_are_corrupt(garbage: bytes) -> None:
    for read in (decode_thread, decode_stored):
        with pytest.raises(Corrupt) as fault:
            read(garbage)
        assert fault.value.code == "unreadable_view"


def test_a_deleted_thread_says_since_when_it_is_whatever_comes_later() -> None:
    history: tuple[list[Event], ...] = ([CREATED], [ThreadDeleted()], [HoldPlaced(hold="case-7")])
    assert folded(chain([CREATED])).deleted_at is None
    assert folded(chain(*history)).deleted_at == NOON + timedelta(seconds=2)
    assert folded(chain(*history, [ThreadRestored()])).deleted_at is None
    erased = ErasureRequested(erasure="erasure_1", items=None, code=None)
    assert folded(chain(*history, [erased])).deleted_at == NOON + timedelta(seconds=2)
    assert folded(chain([CREATED], [erased])).deleted_at == NOON + timedelta(seconds=2)
