"""Whatever happens in a thread, its places lead to the commits that its messages are folded from, at every moment."""

from __future__ import annotations

from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from clew_projections import places
from clew_projections.apply import advance_stored, fold_items, older_pages
from clew_projections.places import Places, cut_back, decode_page, find_place, page_number
from clew_projections.views import ItemView, StoredView, absent_stored, decode_stored, encode
from support.commits import THREAD, advance_named
from support.simulation import Simulation, commands, lives

histories = st.one_of(lives, st.lists(commands, max_size=25)).map(lambda asked: Simulation().run(asked))


def stored(story: Simulation, n: int) -> tuple[StoredView, dict[int, Places]]:
    view, pages = absent_stored("default", THREAD), dict[int, Places]()
    for each in story.records[:n]:
        view, pages = advance_stored(view, pages, each)
    return view, pages


def messages_then(story: Simulation, n: int) -> dict[int, ItemView]:
    views: dict[str, ItemView] = {}
    for each in story.records[:n]:
        views = advance_named(views, each.commit)
    return {view.ordinal: view for view in views.values()}


@given(histories, st.integers(1, 3), st.integers(1, 5), st.data())
def test_a_message_is_folded_from_its_places_as_of_any_moment(
    story: Simulation, size: int, most: int, data: st.DataObject
) -> None:
    with patch.object(places, "PAGE", size), patch.object(places, "MOST_CHANGES", most):
        n = data.draw(st.integers(0, len(story.records)))
        view, _ = stored(story, n)
        # Pages may be newer than the view.
        later = stored(story, data.draw(st.integers(n, len(story.records))))[1]
        by_seq = {each.position.seq: each for each in story.records}
        for ordinal, message in messages_then(story, n).items():
            number = page_number(ordinal)
            run = view.recent if number == len(view.pages) else later[number]
            place = find_place(run, ordinal, view.seq)
            assert place is not None
            if place.seqs:
                folded = fold_items({ordinal}, [by_seq[seq] for seq in place.seqs])
                assert folded[ordinal] == message
            else:
                assert ordinal in run.scattered
            assert (place.deleted or ordinal <= view.cleared) == message.deleted


@given(histories, st.integers(1, 3), st.data())
def test_what_is_stored_does_not_depend_on_where_it_was_taken_up(
    story: Simulation, size: int, data: st.DataObject
) -> None:
    with patch.object(places, "PAGE", size):
        n = data.draw(st.integers(0, len(story.records)))
        view, pages = stored(story, n)
        whole = stored(story, len(story.records))
        # The view from the bucket, and such pages as the rest needs, as old as the view or newer.
        newer = stored(story, data.draw(st.integers(n, len(story.records))))[1]
        view = decode_stored(encode(view))
        needed = older_pages(view, story.records[n:])
        taken = {number: decode_page(encode(newer[number]), number) for number in needed}
        for each in story.records[n:]:
            view, taken = advance_stored(view, taken, each)
        assert encode(view) == encode(whole[0])
        assert {**pages, **taken} == whole[1]


@given(histories, st.integers(1, 3), st.data())
def test_a_page_is_cut_back_to_any_moment_since_it_was_full(story: Simulation, size: int, data: st.DataObject) -> None:
    with patch.object(places, "PAGE", size):
        view, pages = stored(story, data.draw(st.integers(0, len(story.records))))
        whole = stored(story, len(story.records))[1]
        assert {number: cut_back(whole[number], view.seq) for number in pages} == pages
