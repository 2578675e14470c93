"""The rules about legal holds."""

from __future__ import annotations

import pytest

from clew_events.commands import (
    AddMessage,
    Command,
    DeleteMessage,
    DeleteThread,
    EraseItem,
    EraseMessage,
    EraseThread,
    OnThread,
    PlaceHold,
    ReleaseHold,
    UpdateThread,
)
from clew_events.errors import AlreadyErased, Held, NotFound
from clew_events.events import ErasureRequested, HoldPlaced, HoldReleased, ThreadDeleted, ThreadRestored
from clew_events.requests import NewMessage
from clew_services.threads.decide import decide
from support.commits import CREATED, THREAD, added
from support.given import given

PLACE = PlaceHold(thread_id=THREAD, hold="case-7")
RELEASE = ReleaseHold(thread_id=THREAD, hold="case-7")
PLACED, RELEASED = HoldPlaced(hold="case-7"), HoldReleased(hold="case-7")
ERASED = ErasureRequested(erasure="erasure_1", items=None, code=None)
ERASE = (
    EraseThread(thread_id=THREAD),
    EraseMessage(thread_id=THREAD, message_id=added(1).item),
    EraseItem(thread_id=THREAD, item_id=added(1).item),
)


def test_a_hold_is_placed_on_an_open_thread_and_on_a_deleted_one() -> None:
    given(CREATED).when(PLACE).then(PLACED)
    given(CREATED, ThreadDeleted()).when(PLACE).then(PLACED)


def test_a_hold_that_is_there_is_not_placed_again() -> None:
    given(CREATED, PLACED).when(PLACE).then()
    given(CREATED, PLACED, ThreadDeleted()).when(PLACE).then()
    given(CREATED, PLACED, RELEASED).when(PLACE).then(PLACED)


def test_a_thread_has_several_holds_and_each_is_released_alone() -> None:
    before = given(CREATED, PLACED, HoldPlaced(hold="case-8"))
    before.when(RELEASE).then(RELEASED)
    assert before.when(RELEASE).state.holds == ("case-8",)
    before.when(EraseThread(thread_id=THREAD)).refused(Held, code="held", saying="'case-7'")
    given(CREATED, PLACED, ThreadDeleted()).when(RELEASE).then(RELEASED)


def test_a_hold_that_is_not_there_cannot_be_released() -> None:
    for events in ((CREATED,), (CREATED, HoldPlaced(hold="case-8")), (CREATED, PLACED, RELEASED)):
        given(*events).when(RELEASE).refused(NotFound, code="hold_not_found", saying="has no legal hold 'case-7'")


@pytest.mark.parametrize("command", [PLACE, RELEASE], ids=lambda each: each.named)
def test_what_never_was_or_was_erased_is_not_held(command: Command) -> None:
    given().when(command).refused(NotFound, code="thread_not_found")
    given(CREATED, ThreadDeleted(), ERASED).when(command).refused(AlreadyErased, code="already_erased")


@pytest.mark.parametrize("command", ERASE, ids=lambda each: each.named)
def test_nothing_is_erased_under_a_hold_deleted_or_restored_meanwhile(command: Command) -> None:
    for more in ((), (ThreadDeleted(),), (ThreadDeleted(), ThreadRestored())):
        given(CREATED, added(1), PLACED, *more).when(command).refused(Held, code="held", saying="case-7")


@pytest.mark.parametrize(
    "command",
    [
        UpdateThread(thread_id=THREAD, metadata={"a": "1"}),
        AddMessage(thread_id=THREAD, message=NewMessage(role="user", content="hello")),
        DeleteMessage(thread_id=THREAD, message_id=added(1).item),
        DeleteThread(thread_id=THREAD),
    ],
    ids=lambda each: each.named,
)
def test_a_hold_stands_in_the_way_of_nothing_that_keeps_the_history(command: Command) -> None:
    assert given(CREATED, added(1), PLACED).when(command).events


@pytest.mark.parametrize("command", ERASE, ids=lambda each: each.named)
def test_nothing_is_erased_under_a_standing_hold_either(command: OnThread) -> None:
    for events in ((CREATED,), (CREATED, ThreadDeleted())):
        state = given(*events).state
        with pytest.raises(Held) as fault:
            decide(command, THREAD, "cmd_1", state, standing=("case-8", "case-9"))
        assert "the standing legal hold 'case-8'" in fault.value.message
