"""Requests to erase: what they decide, whom they refuse, and which contents follow from them."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from clew_events.commands import AddMessage, CreateThread, EraseMessage, EraseThread, UpdateThread
from clew_events.content import ToolResources
from clew_events.erasures import lines_to_erase
from clew_events.errors import AlreadyErased, AlreadyExists, Held, Invalid, NotFound
from clew_events.events import (
    ErasureRequested,
    Event,
    HoldPlaced,
    HoldReleased,
    ItemDeleted,
    ItemMetadataUpdated,
    ItemsCleared,
    MetadataUpdated,
    ThreadDeleted,
)
from clew_events.ids import derive_id
from clew_events.requests import NewMessage
from clew_projections.fold import ThreadState, evolve
from clew_projections.views import ItemView
from clew_services.threads.decide import decide
from support.commits import CREATED, THREAD, added, advance_one, commit

COMMAND = "cmd_1"
ERASURE = derive_id("erasure_", THREAD, COMMAND)
FIRST, SECOND = added(1, text="one"), added(2, text="two")


def state(*events: Event) -> ThreadState:
    thread = ThreadState()
    for event in events:
        thread = evolve(thread, event)
    return thread


def message(*events: Event) -> ItemView:
    return advance_one(None, FIRST.item, commit(1, CREATED, FIRST, *events))


def test_erasing_an_open_thread_deletes_it_and_asks_for_the_whole_of_it() -> None:
    decided = decide(EraseThread(thread_id=THREAD, reason="gdpr:17"), THREAD, COMMAND, state(CREATED, FIRST))
    assert decided == (ThreadDeleted(), ErasureRequested(erasure=ERASURE, items=None, code="gdpr:17"))


def test_a_deleted_thread_is_erased_without_being_deleted_twice() -> None:
    decided = decide(EraseThread(thread_id=THREAD), THREAD, COMMAND, state(CREATED, ThreadDeleted()))
    assert decided == (ErasureRequested(erasure=ERASURE, items=None, code=None),)


def test_nothing_is_left_of_an_erased_thread_but_that_it_was() -> None:
    request = ErasureRequested(erasure=ERASURE, items=None, code=None)
    before = state(replace(CREATED, metadata={"name": "Ada"}), FIRST, ThreadDeleted())
    after = evolve(before, request)
    assert (after.status, after.metadata, after.messages, after.erasure) == ("erased", {}, 0, ERASURE)
    assert after.tool_resources == ToolResources()
    assert after.last_ordinal == before.last_ordinal


@pytest.mark.parametrize(
    "command",
    [
        CreateThread(thread_id=THREAD),
        UpdateThread(thread_id=THREAD, metadata={}),
        AddMessage(thread_id=THREAD, message=NewMessage(role="user", content="x")),
        EraseThread(thread_id=THREAD),
        EraseMessage(thread_id=THREAD, message_id=FIRST.item),
    ],
    ids=lambda each: each.named,
)
def test_an_erased_thread_takes_no_command_and_its_id_is_not_used_again(command) -> None:
    gone = state(CREATED, FIRST, ThreadDeleted(), ErasureRequested(erasure=ERASURE, items=None, code=None))
    with pytest.raises((NotFound, AlreadyExists, AlreadyErased)) as refused:
        decide(command, THREAD, "cmd_2", gone, (message(),))
    assert refused.value.code in {"thread_not_found", "already_exists", "already_erased"}
    if isinstance(command, EraseThread | EraseMessage):
        assert refused.value.code == "already_erased"
        assert ERASURE in refused.value.message


def test_erasing_a_message_deletes_it_and_asks_for_it_alone() -> None:
    command = EraseMessage(thread_id=THREAD, message_id=FIRST.item)
    decided = decide(command, THREAD, COMMAND, state(CREATED, FIRST), (message(),))
    assert decided == (
        ItemDeleted(item=FIRST.item),
        ErasureRequested(erasure=ERASURE, items=(FIRST.item,), code=None),
    )


@pytest.mark.parametrize("gone", [ItemDeleted(item=FIRST.item), ItemsCleared()], ids=lambda each: type(each).__name__)
def test_a_deleted_message_is_erased_without_being_deleted_twice(gone: Event) -> None:
    command = EraseMessage(thread_id=THREAD, message_id=FIRST.item)
    decided = decide(command, THREAD, COMMAND, state(CREATED, FIRST, gone), (message(gone),))
    assert decided == (ErasureRequested(erasure=ERASURE, items=(FIRST.item,), code=None),)


def test_a_message_is_erased_once() -> None:
    request = ErasureRequested(erasure=ERASURE, items=(FIRST.item,), code=None)
    erased = message(ItemDeleted(item=FIRST.item), request)
    assert (erased.deleted, erased.erasure, erased.message) == (True, ERASURE, None)
    with pytest.raises(AlreadyErased, match=ERASURE):
        decide(EraseMessage(thread_id=THREAD, message_id=FIRST.item), THREAD, "cmd_2", state(CREATED, FIRST), (erased,))


@pytest.mark.parametrize("about", ["thread", "message"])
def test_what_never_was_cannot_be_erased(about: str) -> None:
    command = EraseThread(thread_id=THREAD) if about == "thread" else EraseMessage(thread_id=THREAD, message_id="msg_1")
    thread = ThreadState() if about == "thread" else state(CREATED)
    with pytest.raises(NotFound) as refused:
        decide(command, THREAD, COMMAND, thread)
    assert refused.value.code == f"{about}_not_found"


def test_a_hold_forbids_it_until_it_is_released() -> None:
    held = state(CREATED, HoldPlaced(hold="case-7"), HoldPlaced(hold="case-8"))
    with pytest.raises(Held, match="case-7"):
        decide(EraseThread(thread_id=THREAD), THREAD, COMMAND, held)
    released = evolve(evolve(held, HoldReleased(hold="case-7")), HoldReleased(hold="case-8"))
    assert released.holds == ()
    assert decide(EraseThread(thread_id=THREAD), THREAD, COMMAND, released)


@pytest.mark.parametrize("reason", ["Ada asked for it", "", "x" * 65, "naïve", "a\nb"])
def test_why_it_is_erased_is_a_code_as_it_is_kept_for_ever(reason: str) -> None:
    with pytest.raises(Invalid) as refused:
        decide(EraseThread(thread_id=THREAD, reason=reason), THREAD, COMMAND, state(CREATED))
    assert refused.value.param == "reason"


WHOLE = ErasureRequested(erasure=ERASURE, items=None, code=None)
ONE = ErasureRequested(erasure=ERASURE, items=(FIRST.item,), code=None)
CHANGE = ItemMetadataUpdated(item=FIRST.item, set={"a": "1"}, unset=())


@pytest.mark.parametrize(
    ("events", "reason", "whole", "one"),
    [
        ((CREATED, FIRST, SECOND), None, (1, 2, 3), (2,)),
        ((CREATED, FIRST), "because", (0, 1, 2), (2,)),
        ((FIRST,), "because", (0, 1), (0, 1)),
        ((FIRST, SECOND), "because", (0, 1, 2), (1,)),
        ((CHANGE,), "because", (0, 1), (0, 1)),
        ((MetadataUpdated(set={"a": "1"}, unset=()),), "because", (0, 1), ()),
        ((ItemDeleted(item=FIRST.item),), None, (), ()),
        ((ItemDeleted(item=FIRST.item),), "because", (0,), (0,)),
        ((ItemDeleted(item=SECOND.item),), "because", (0,), ()),
        ((ThreadDeleted(), WHOLE), None, (), ()),
    ],
)
def test_which_contents_go_follows_from_the_record(events, reason, whole, one) -> None:
    made = replace(commit(1, *events), reason=reason)
    assert lines_to_erase(made, WHOLE) == whole
    assert lines_to_erase(made, ONE) == one


def test_what_is_erased_already_is_named_again() -> None:
    made = replace(commit(1, CREATED, FIRST), reason=None, reason_erased=True)
    assert lines_to_erase(made, WHOLE) == (0, 1, 2)
