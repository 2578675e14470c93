"""The past of what was erased: that contents are missing is said, and never taken for an empty text or a deletion."""

from __future__ import annotations

import click
from msgspec import UNSET, Raw
from msgspec.structs import replace

from clew_events.codec import decode, redact
from clew_events.commit import Recorded
from clew_events.events import (
    ErasureRequested,
    ItemAdded,
    ItemDeleted,
    ItemMetadataUpdated,
    ItemReplaced,
    MetadataUpdated,
    ThreadDeleted,
)
from clew_events.subjects import Address
from clew_projections.api_objects import message_object, retrieved_thread
from clew_projections.apply import fold_items
from clew_projections.audit.as_of import ThreadAsOf
from clew_projections.audit.blame import blame
from clew_projections.audit.diff import difference
from clew_projections.audit.moments import NOW, Moment
from clew_services.cli.commit_lines import change_lines, item_words
from clew_services.cli.thread import thread_facts
from support.commits import CREATED, THREAD, added, chain

HERE = Address("default", THREAD)
ONE, TWO = added(1, "one"), added(2, "two")
WHOLE = chain(
    [CREATED],
    [ONE],
    [TWO],
    [ItemMetadataUpdated(item=ONE.item, set={"a": "1"}, unset=())],
    [ItemDeleted(item=ONE.item)],
    [MetadataUpdated(set={"plan": "paid"}, unset=())],
)


def without(*numbers: int) -> list[Recorded]:
    """The history without the contents of some of its commits."""
    return [
        replace(each, commit=decode(redact(each.body, {0, 1}))) if each.commit.n in numbers else each for each in WHOLE
    ]


MESSAGE_ERASED, THREAD_ERASED = without(2, 4), without(1, 2, 3, 4)


def as_of(n: int, records: list[Recorded]) -> ThreadAsOf:
    fold = ThreadAsOf(HERE, Moment(n=n))
    for each in records:
        fold.add(each)
    return fold


def test_an_erased_message_is_there_until_it_is_deleted_and_said_to_be_erased() -> None:
    then = as_of(4, MESSAGE_ERASED)
    assert then.places == {1: [2, 4], 2: [3]}
    view = fold_items({1}, MESSAGE_ERASED[:4])[1]
    assert (view.erased, view.deleted, view.gone) == (True, False, True)
    assert fold_items({1}, [MESSAGE_ERASED[1], MESSAGE_ERASED[3]]) == {1: view}
    shown = message_object(view)
    assert (shown.erased, shown.content, item_words(view)) == (True, (), ("?", "(erased)"))
    later = as_of(5, MESSAGE_ERASED)
    assert fold_items({1}, MESSAGE_ERASED)[1].deleted
    assert set(later.places) == {2}


def test_a_message_that_has_its_contents_is_not_said_to_be_erased() -> None:
    view = fold_items({2}, MESSAGE_ERASED[:4])[2]
    assert (message_object(view).erased, item_words(view)) == (UNSET, ("user", "two"))


def test_a_thread_is_said_to_be_erased_where_its_own_contents_are_missing() -> None:
    then = as_of(4, THREAD_ERASED)
    shown = retrieved_thread(then.view, erased=then.erased)
    assert shown.erased is True
    assert ("metadata", "(erased)") in thread_facts(shown)
    other = as_of(4, MESSAGE_ERASED)
    assert not other.erased
    assert retrieved_thread(other.view, erased=other.erased).erased is UNSET


def test_a_difference_says_that_contents_are_missing_and_when_the_message_went() -> None:
    found = difference(HERE, MESSAGE_ERASED, Moment(n=2), Moment(n=5))
    assert found.erased
    assert [(each.id, each.change) for each in found.messages] == [(ONE.item, "deleted"), (TWO.item, "added")]
    assert found.messages[0].before is not None
    assert found.messages[0].before.erased is True
    assert "(erased)" in "".join(change_lines(found))
    assert not difference(HERE, MESSAGE_ERASED, Moment(n=0), Moment(n=1)).erased
    assert not difference(HERE, WHOLE, Moment(n=2), Moment(n=5)).erased


def test_a_difference_names_a_message_whose_only_change_was_erased() -> None:
    found = difference(HERE, MESSAGE_ERASED, Moment(n=3), Moment(n=4))
    ((change, before, after),) = [(each.change, each.before, each.after) for each in found.messages]
    assert (change, before and before.erased, after and after.erased) == ("changed", True, True)
    assert f"{ONE.item} was changed (erased)" in "".join(change_lines(found))


def test_a_difference_names_a_message_that_was_replaced_under_the_same_metadata() -> None:
    history = chain([CREATED], [ONE], [ItemReplaced(item=ONE.item, message=TWO.message)])
    found = difference(HERE, history, Moment(n=2), Moment(n=3))
    assert [each.change for each in found.messages] == ["changed"]
    lines = [click.unstyle(line).strip() for line in change_lines(found)]
    assert lines == [f"- {ONE.item} user: one", f"+ {ONE.item} user: two"]


def test_a_difference_up_to_the_erasure_of_a_thread_has_no_message_after_it() -> None:
    request = ErasureRequested(erasure="erasure_1", items=None, code=None)
    history = chain([CREATED], [ONE], [ThreadDeleted(), request])
    left = [replace(each, commit=decode(redact(each.body, {1}))) for each in history[:2]]
    found = difference(HERE, [*left, history[2]], Moment(n=0), Moment(n=3))
    assert found.status.after == "erased"
    assert [(each.id, each.change, each.after) for each in found.messages] == [(ONE.item, "added_and_deleted", None)]


def test_a_difference_names_an_item_whose_contents_are_missing() -> None:
    events = [event(item="a", ordinal=1, body=Raw(b'{"type":"call"}')) for event in (ItemAdded, ItemReplaced)]
    history = chain([CREATED], *([event] for event in events))
    left = [replace(each, commit=decode(redact(each.body, {1}))) for each in history]
    assert "a was changed (erased)" in "".join(change_lines(difference(HERE, left, Moment(n=2), NOW)))
    assert "+ a (erased)" in "".join(change_lines(difference(HERE, left, Moment(n=1), NOW)))
    (item,) = blame(HERE, left, NOW).messages
    assert (item.added.n, item.replaced and item.replaced.n) == (2, 3)


def test_blame_names_who_replaced_a_message_whatever_came_after() -> None:
    later = [ItemMetadataUpdated(item=ONE.item, set={"a": "1"}, unset=())], [ItemDeleted(item=ONE.item)]
    (item,) = blame(
        HERE, chain([CREATED], [ONE], [ItemReplaced(item=ONE.item, message=TWO.message)], *later), NOW
    ).messages
    assert [did and did.n for did in (item.added, item.replaced, item.changed, item.deleted)] == [2, 3, 5, 5]


def test_blame_says_that_contents_are_missing() -> None:
    assert blame(HERE, MESSAGE_ERASED, NOW).erased
    assert not blame(HERE, MESSAGE_ERASED, Moment(n=1)).erased
    assert not blame(HERE, WHOLE, NOW).erased
