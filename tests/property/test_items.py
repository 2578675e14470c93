"""Items of any type, whatever was done to them: what is read is what the plainest reading of the log says."""

from __future__ import annotations

import json
from collections.abc import Iterable
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from clew_events import ids
from clew_events.commands import CreateThread
from clew_events.subjects import Address
from clew_projections import places
from clew_projections.api_objects import item_object
from clew_projections.apply import advance_stored, fold_items
from clew_projections.audit.as_of import ThreadAsOf
from clew_projections.audit.blame import blame
from clew_projections.audit.diff import difference
from clew_projections.audit.moments import NOW, Moment
from clew_projections.packs.check import Foldable
from clew_projections.places import Places, find_place, page_number
from clew_projections.views import ItemView, absent_stored, decode_stored, encode
from support import naive
from support.commits import THREAD
from support.simulation import Simulation, of_items

HERE = Address("default", THREAD)
stories = st.lists(of_items, max_size=20).map(lambda asked: Simulation().run([CreateThread(thread_id=THREAD), *asked]))


def shown(views: Iterable[ItemView]) -> list[naive.JSON]:
    return [json.loads(bytes(item_object(view))) for view in views]


def plainly(story: Simulation, n: int) -> list[naive.JSON]:
    return naive.items([naive.kept(each.body, each.position.seq, each.hash) for each in story.records[:n]])


@given(stories, st.integers(1, 3), st.data())
def test_items_are_what_the_log_says_wherever_they_are_read_from(
    story: Simulation, size: int, data: st.DataObject
) -> None:
    n = data.draw(st.integers(1, len(story.records)))
    expected = plainly(story, n)
    by_seq = {each.position.seq: each for each in story.records}
    assert shown(view for view in fold_items(range(1, 999), story.records[:n]).values() if not view.deleted) == expected
    fold = ThreadAsOf(HERE, Moment(n=n))
    assert sum(fold.add(each) for each in story.records) == n
    then = [fold_items({ordinal}, [by_seq[seq] for seq in seqs])[ordinal] for ordinal, seqs in fold.places.items()]
    assert shown(then) == expected

    with patch.object(places, "PAGE", size):
        view, pages = absent_stored(*HERE), dict[int, Places]()
        for each in story.records[:n]:
            view, pages = advance_stored(view, pages, each)
        assert decode_stored(encode(view)) == view
        assert set(view.own or ()) == {number for number, page in pages.items() if page.own}
        runs = {**pages, len(view.pages): view.recent}
        read: list[ItemView] = []
        for ordinal in range(1, view.last_ordinal + 1):
            run = runs[page_number(ordinal)]
            place = find_place(run, ordinal, view.seq)
            assert place is not None
            item = fold_items({ordinal}, [by_seq[seq] for seq in place.seqs])[ordinal]
            found = ordinal in run.own.get(ids.fingerprint(item.id), ())
            assert found != (ids.ordinal_of(item.id) == ordinal)
            read += [] if place.deleted or ordinal <= view.cleared else [item]
        assert shown(read) == expected
        assert view.messages == len(expected)


@given(stories, st.data())
def test_audits_know_every_item_even_one_whose_id_was_used_again(story: Simulation, data: st.DataObject) -> None:
    foldable = Foldable()
    for each in story.records:
        foldable.take(each.commit)
    since = data.draw(st.integers(0, len(story.records)))
    old, new = plainly(story, since), plainly(story, len(story.records))
    changes = difference(HERE, story.records, Moment(n=since), NOW)
    taken = [each.id for each in (*changes.messages, *changes.items) if each.change == "deleted"]
    added = [each.id for each in (*changes.messages, *changes.items) if each.change == "added"]
    kept = [each["id"] for each in old]
    for item in taken:
        kept.remove(item)
    assert sorted(kept + added) == sorted(each["id"] for each in new)
    told = blame(HERE, story.records, NOW).messages
    assert [each.id for each in told] == [view.id for view in story.items.values()]
    assert [each.deleted is not None for each in told] == [view.deleted for view in story.items.values()]
