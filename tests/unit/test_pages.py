"""Pages: which places a listing takes, in which order, between which cursors."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from clew_events.queries import Order
from clew_projections.page_size import ShownPage
from clew_projections.state.state_reads import Span, span
from clew_projections.views import ItemView, change_metadata

orders = st.sampled_from(["asc", "desc"])
cursors = st.none() | st.integers(1, 40)


def walked(places: Span, step: int) -> list[int]:
    taken: list[int] = []
    while not places.empty:
        next_places = places.next_places(step)
        assert 1 <= len(next_places) <= step
        taken += next_places
        places = places.without(next_places)
    return taken


@given(st.integers(0, 40), orders, cursors, cursors, st.integers(1, 12))
def test_a_listing_is_every_place_strictly_between_its_cursors_in_its_order(
    last: int, order: Order, after: int | None, before: int | None, step: int
) -> None:
    everything = list(range(1, last + 1)) if order == "asc" else list(range(last, 0, -1))
    beyond = (lambda place, mark: place > mark) if order == "asc" else (lambda place, mark: place < mark)
    expected = [
        place
        for place in everything
        if (after is None or beyond(place, after)) and (before is None or beyond(before, place))
    ]
    # `before` alone is the way back: the places nearest to it come first.
    back = before is not None and after is None
    places = span(last, order, after, before)
    assert places.goes_back(order) == (back and before is not None)
    assert walked(places, step) == (expected[::-1] if back else expected)


@pytest.mark.parametrize("order", ["asc", "desc"])
def test_an_empty_thread_has_no_places(order: Order) -> None:
    assert span(0, order, None, None).empty


@pytest.mark.parametrize(
    ("order", "after", "before"),
    [("asc", 3, 3), ("asc", 3, 4), ("asc", 5, 2), ("desc", 4, 3), ("desc", 2, 5), ("asc", 9, None), ("desc", 1, None)],
)
def test_cursors_that_leave_nothing_between_them_leave_nothing(order: Order, after: int, before: int | None) -> None:
    assert span(9, order, after, before).empty


@pytest.mark.parametrize(("order", "first"), [("asc", [1, 2, 3]), ("desc", [9, 8, 7])])
def test_a_listing_begins_at_its_end_of_the_thread(order: Order, first: list[int]) -> None:
    assert list(span(9, order, None, None).next_places(3)) == first


def test_an_item_is_rendered_once_and_a_changed_one_anew() -> None:
    rendered: list[ItemView] = []

    def show(view: ItemView) -> str:
        rendered.append(view)
        return view.id

    at = datetime(2026, 1, 1, tzinfo=UTC)
    view = ItemView(id="own-1", thread="t", ordinal=1, n=1, created_at=at, body=Raw(b'{"type":"note"}'))
    changed = change_metadata(view, {"a": "1"})
    for each in (view, view, changed):
        page = ShownPage[str](1, 100)
        page.take(each, show)
        page.take(each, show)
        assert (page.data, page.ids, page.more) == (["own-1"], ["own-1"], True)
    assert rendered == [view, changed]
