"""Where a thread's items are: kept in pages, commit by commit, and read as of any moment since."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from clew_events.commit import Recorded
from clew_events.errors import Corrupt
from clew_events.events import ErasureRequested, ItemDeleted, ItemMetadataUpdated, ItemsCleared, ThreadDeleted
from clew_projections import places
from clew_projections.apply import advance_stored, older_pages
from clew_projections.places import ItemPlace, Places, cut_back, decode_page, find_changes, find_place
from clew_projections.views import StoredView, absent_stored, decode_stored, encode
from support.commits import CREATED, THREAD, added, chain, forked


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "PAGE", 2)


def stored(records: list[Recorded]) -> tuple[StoredView, dict[int, Places]]:
    view, pages = absent_stored("default", THREAD), dict[int, Places]()
    for each in records:
        view, pages = advance_stored(view, pages, each)
    return view, pages


def change(ordinal: int) -> ItemMetadataUpdated:
    return ItemMetadataUpdated(item=added(ordinal).item, set={"a": "1"}, unset=())


def delete(ordinal: int) -> ItemDeleted:
    return ItemDeleted(item=added(ordinal).item)


HISTORY = chain([CREATED, added(1)], [added(2)], [added(3)], [change(1)], [delete(2)], [change(3)], first_seq=11)


def test_a_page_that_is_not_full_stands_in_the_view_and_a_full_one_beside_it() -> None:
    view, pages = stored(HISTORY[:1])
    assert (view.recent, view.pages, pages) == (Places(added=(11,), seq=11), (), {})
    view, pages = stored(HISTORY)
    assert view.recent == Places(first=3, added=(13,), changed={3: (16,)}, seq=16)
    assert view.pages == (15,)
    assert pages == {0: Places(added=(11, 12), changed={1: (14,)}, deleted={2: 15}, seq=15)}


def test_a_commit_of_many_items_fills_several_pages() -> None:
    view, pages = stored(chain([CREATED, *(added(n) for n in range(1, 6))]))
    assert (view.pages, view.recent) == ((1, 1), Places(first=5, added=(1,), seq=1))
    assert [page.first for page in pages.values()] == [1, 3]


def test_a_commit_about_the_thread_alone_changes_no_place() -> None:
    view, pages = stored(HISTORY[:2])
    after = advance_stored(view, pages, chain([CREATED, added(1)], [added(2)], [ThreadDeleted()], first_seq=11)[2])
    assert (after[0].recent, after[0].pages, after[1]) == (view.recent, view.pages, pages)


def test_the_pages_that_a_commit_changes_are_those_it_needs() -> None:
    view, _ = stored(HISTORY[:3])
    assert older_pages(view, HISTORY[3:]) == {0}
    assert older_pages(view, HISTORY[5:]) == set()
    nonsense = chain([ItemDeleted(item="m"), replace(delete(1), item="msg_" + "0" * 24)])
    assert older_pages(view, nonsense) == set()


def test_a_page_that_is_newer_than_a_commit_has_it_already() -> None:
    view, _ = stored(HISTORY[:3])
    newer = stored(HISTORY)[1]
    after, pages = advance_stored(view, newer, HISTORY[3])
    assert pages == newer
    assert after.pages == (14,)


def test_an_item_is_found_as_of_any_moment_since_it_was_added() -> None:
    (page,) = stored(HISTORY)[1].values()
    assert [find_place(page, 1, until) for until in (10, 11, 13, 14)] == [
        None,
        ItemPlace((11,)),
        ItemPlace((11,)),
        ItemPlace((11, 14)),
    ]
    assert find_place(page, 2, 14) == ItemPlace((12,))
    assert find_place(page, 2, 15) == ItemPlace((12, 15), deleted=True)
    assert find_place(page, 3, 99) is None


@pytest.mark.parametrize("count", range(2, len(HISTORY) + 1))
def test_a_page_is_cut_back_to_what_it_was(count: int) -> None:
    assert cut_back(stored(HISTORY)[1][0], HISTORY[count - 1].position.seq) == stored(HISTORY[:count])[1][0]


def test_an_item_of_one_commit_is_listed_once() -> None:
    view, _ = stored(chain([CREATED, added(1), change(1)], [change(1), change(1)]))
    assert view.recent == Places(added=(1,), changed={1: (2,)}, seq=2)


def test_items_with_too_many_changes_are_named_and_theirs_are_not_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "MOST_CHANGES", 2)
    records = chain([CREATED, added(1), added(2)], [change(1)], [change(1)], [change(2)], [change(1)], [delete(2)])
    page = stored(records)[1][0]
    assert page == Places(added=(1, 1), deleted={2: 6}, scattered=(2, 1), seq=6)
    assert find_place(page, 1, 6) == ItemPlace()
    assert find_place(page, 2, 6) == ItemPlace(deleted=True)
    assert cut_back(page, 5) is None


def test_an_erasure_deletes_an_item_that_is_there_and_is_a_change_of_one_that_is_not() -> None:
    items = (added(1).item, added(2).item, "m", added(9).item)
    request = ErasureRequested(erasure="erasure_1", items=items, code=None)
    records = chain(
        [CREATED, added(1), added(2)], [delete(2)], [request], [delete(1), replace(request, items=items[:1])]
    )
    view, pages = stored(records[:3])
    assert older_pages(view, records[2:]) == {0}
    assert pages[0] == Places(added=(1, 1), changed={2: (3,)}, deleted={2: 2, 1: 3}, seq=3)
    assert find_place(pages[0], 1, 3) == ItemPlace((1, 3), deleted=True)
    assert find_place(pages[0], 2, 3) == ItemPlace((1, 2, 3), deleted=True)
    assert find_place(pages[0], 2, 2) == ItemPlace((1, 2), deleted=True)
    assert stored(records)[1][0].changed == {2: (3,), 1: (4,)}


def test_clearing_a_thread_changes_no_place() -> None:
    before, pages = stored(HISTORY[:2])
    after, same = stored(chain([CREATED, added(1)], [added(2)], [ItemsCleared()], first_seq=11))
    assert (after.cleared, after.recent, after.pages, same) == (2, before.recent, before.pages, pages)


def test_large_commits_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    large = added(2, "x" * places.LARGE)
    view, pages = stored(chain([CREATED, added(1)], [large, added(3)], [change(2)]))
    assert (pages[0].large, view.recent.large) == ((2,), (2,))
    assert cut_back(pages[0], 2) == replace(pages[0], changed={}, seq=2)


def test_what_is_stored_comes_back_as_it_went_in() -> None:
    view, pages = stored(HISTORY)
    assert decode_stored(encode(view)) == view
    assert decode_page(encode(pages[0]), 0) == pages[0]
    assert encode(pages[0]) == b'{"added":[11,12],"changed":{"1":[14]},"deleted":{"2":15},"seq":15}'


def test_places_that_do_not_fit_are_corrupt() -> None:
    view, pages = stored(HISTORY)
    for wrong in (replace(view, recent=Places()), replace(view, pages=()), replace(view, last_ordinal=9)):
        with pytest.raises(Corrupt, match="places"):
            decode_stored(encode(wrong))
    for body, number in ((encode(pages[0]), 1), (encode(replace(pages[0], added=(11,))), 0), (b"{", 0), (b"null", 0)):
        with pytest.raises(Corrupt):
            decode_page(body, number)


FORK = chain([forked(5, 4), added(6)], [added(7)], [change(2)], [delete(5)], [change(2), delete(6)], [added(8)])


def test_a_fork_goes_on_counting_and_its_pages_begin_with_its_own_items() -> None:
    view, pages = stored(FORK)
    assert (view.messages, view.last_ordinal, view.inherited) == (5, 8, 5)
    assert view.recent == Places(first=8, added=(6,), seq=6)
    assert pages == {0: Places(first=6, added=(1, 2), deleted={6: 5}, seq=5)}
    assert older_pages(stored(FORK[:4])[0], FORK[4:]) == {0}
    assert decode_page(encode(pages[0]), 0, inherited=5) == pages[0]
    assert decode_stored(encode(view)) == view


def test_what_a_fork_changes_of_that_which_it_inherits_stands_beside() -> None:
    view, _ = stored(FORK)
    assert view.overlay == Places(changed={2: (3, 5)}, deleted={5: 4}, seq=5)
    assert find_changes(view.overlay, 2, 4) == ItemPlace((3,))
    assert find_changes(view.overlay, 5, 4) == ItemPlace((4,), deleted=True)
    assert find_changes(view.overlay, 1, 6) == ItemPlace()


def test_a_fork_without_a_change_is_stored_in_one_size_however_long_its_parent_is() -> None:
    sizes = [len(encode(stored(chain([forked(ordinal)]))[0])) for ordinal in (1000, 9000)]
    assert len({*sizes}) == 1
    assert decode_stored(encode(stored(chain([forked(9000)]))[0])).pages == ()
