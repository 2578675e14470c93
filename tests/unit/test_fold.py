"""The fold: what each event adds to a thread's state."""

from __future__ import annotations

from typing import get_args

import pytest

from clew_events.codec import decode
from clew_events.content import CodeInterpreter, ExpiresAfter, ToolResources
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
    RetentionRemoved,
    RetentionSet,
    StandingHoldPlaced,
    StandingHoldReleased,
    ThreadCreated,
    ThreadDeleted,
    ThreadRestored,
    ToolResourcesUpdated,
)
from clew_projections.fold import ThreadState, apply_difference, evolve
from clew_projections.views import ThreadView, absent
from support.commits import CREATED, added, body_of, commit, forked

FILES = ToolResources(code_interpreter=CodeInterpreter(("file-1",)))
OPEN = ThreadState(status="open", metadata={"a": "1"}, tool_resources=FILES, messages=2, last_ordinal=5)
ONE_OF_EACH: tuple[Event, ...] = (
    CREATED,
    MetadataUpdated(set={"b": "2"}, unset=("a",)),
    ToolResourcesUpdated(tool_resources=ToolResources()),
    added(6),
    ItemMetadataUpdated(item=added(1).item, set={"x": "y"}, unset=()),
    ItemDeleted(item=added(1).item),
    ThreadDeleted(),
    ItemReplaced(item=added(1).item, message=added(1).message),
    ItemsCleared(),
    ThreadRestored(),
    ExpiryUpdated(expires_after=ExpiresAfter("created_at", 30)),
    HoldPlaced(hold="case-7"),
    HoldReleased(hold="case-7"),
    ErasureRequested(erasure="erasure_1", items=None, code="asked"),
    ErasureCompleted(erasure="erasure_1", certificate="0" * 64),
    RetentionSet(name="all", after_days=90, since="created", then="erase", erase_after_days=None, where=None),
    RetentionRemoved(name="all"),
    StandingHoldPlaced(hold="case-8", where="{}"),
    StandingHoldReleased(hold="case-8"),
    ErasedThreadEvent(of="MetadataUpdated", seal="0" * 64),
    ErasedItemEvent(of="ItemAdded", item=added(6).item, ordinal=6, seal="0" * 64),
)


def test_a_thread_nobody_spoke_of_is_absent_and_empty() -> None:
    assert ThreadState() == ThreadState(
        status="absent", metadata={}, tool_resources=ToolResources(), messages=0, last_ordinal=0
    )


def test_a_created_thread_is_open_with_what_it_was_created_with() -> None:
    state = evolve(ThreadState(), ThreadCreated(metadata={"a": "1"}, tool_resources=FILES))
    assert state == ThreadState(status="open", metadata={"a": "1"}, tool_resources=FILES)


def test_a_metadata_difference_sets_and_unsets() -> None:
    state = evolve(OPEN, MetadataUpdated(set={"b": "2"}, unset=("a",)))
    assert state.metadata == {"b": "2"}


def test_tool_resources_are_replaced_whole() -> None:
    assert evolve(OPEN, ToolResourcesUpdated(tool_resources=ToolResources())).tool_resources == ToolResources()


def test_an_expiry_is_set_and_taken_away() -> None:
    state = evolve(OPEN, ExpiryUpdated(expires_after=ExpiresAfter("created_at", 30)))
    assert state.expires_after == ExpiresAfter("created_at", 30)
    assert evolve(state, ExpiryUpdated(expires_after=None)) == OPEN


def test_an_added_message_is_counted_and_its_ordinal_is_the_latest() -> None:
    state = evolve(OPEN, added(6))
    assert (state.messages, state.last_ordinal) == (3, 6)


def test_a_fork_begins_with_what_it_inherits_whether_its_content_is_there_or_erased() -> None:
    event = forked(9, 4, cleared=3)
    state = evolve(ThreadState(), event)
    assert (state.status, state.messages, state.last_ordinal, state.cleared, state.inherited) == ("open", 4, 9, 3, 9)
    assert evolve(ThreadState(), ErasedThreadEvent(of="ThreadCreated", seal="", forked_from=event.forked_from)) == state


def test_a_deleted_message_is_counted_off_and_its_ordinal_is_not_given_again() -> None:
    state = evolve(evolve(OPEN, added(6)), ItemDeleted(item=added(6).item))
    assert (state.messages, state.last_ordinal) == (2, 6)


def test_a_change_of_a_message_leaves_the_thread_as_it_is() -> None:
    event = ItemMetadataUpdated(item=added(1).item, set={"x": "y"}, unset=())
    assert evolve(OPEN, event) == OPEN


def test_a_deleted_thread_is_remembered_with_all_it_had() -> None:
    state = evolve(OPEN, ThreadDeleted())
    assert state == ThreadState(status="deleted", metadata={"a": "1"}, tool_resources=FILES, messages=2, last_ordinal=5)


def test_the_examples_here_cover_every_event() -> None:
    assert {type(event) for event in ONE_OF_EACH} == set(get_args(Event))


@pytest.mark.parametrize("event", ONE_OF_EACH, ids=lambda event: type(event).__name__)
def test_no_event_changes_the_state_it_is_applied_to(event: Event) -> None:
    before = ThreadState(status="open", metadata={"a": "1"}, tool_resources=FILES, messages=2, last_ordinal=5)
    evolve(before, event)
    assert before == OPEN


@pytest.mark.parametrize("event", ONE_OF_EACH, ids=lambda event: type(event).__name__)
def test_an_event_keeps_whatever_else_a_state_carries(event: Event) -> None:
    view = evolve(absent("default", "thread_x"), event)
    assert type(view) is ThreadView
    assert (view.tenant, view.id, view.n) == ("default", "thread_x", 0)


def test_an_object_that_is_no_event_is_not_skipped() -> None:
    with pytest.raises(AssertionError):
        evolve(OPEN, object())  # type: ignore[arg-type]


def test_keys_keep_their_place_when_a_difference_is_applied_and_new_ones_come_last() -> None:
    changed = apply_difference({"a": "1", "b": "2", "c": "3"}, {"d": "4", "a": "9"}, ("b",))
    assert list(changed.items()) == [("a", "9"), ("c", "3"), ("d", "4")]


def test_unsetting_a_key_that_is_not_there_changes_nothing() -> None:
    assert apply_difference({"a": "1"}, {}, ("b",)) == {"a": "1"}


def test_a_key_both_set_and_unset_is_gone() -> None:
    assert apply_difference({"a": "1"}, {"a": "2", "b": "3"}, ("a", "b")) == {}


@pytest.mark.parametrize("event", ONE_OF_EACH, ids=lambda event: type(event).__name__)
def test_an_event_whose_content_was_erased_counts_as_it_did_before(event: Event) -> None:
    if isinstance(event, ErasedThreadEvent | ErasedItemEvent):
        return
    record, command, _, end = body_of(commit(1, event)).split(b"\n")
    (erased,) = decode(b"\n".join((record, command, b"", end))).events
    before = ThreadState() if isinstance(event, ThreadCreated) else OPEN
    whole, after = evolve(before, event), evolve(before, erased)
    assert (after.status, after.messages, after.last_ordinal) == (whole.status, whole.messages, whole.last_ordinal)
    if isinstance(erased, ErasedThreadEvent | ErasedItemEvent):
        assert after.metadata == before.metadata
    else:
        assert after == whole
