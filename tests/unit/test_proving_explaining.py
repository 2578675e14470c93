"""A wrong view is explained: by the commit that was missed, or by what never was."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from clew_events.commit import Recorded
from clew_events.events import ItemMetadataUpdated, MetadataUpdated
from clew_projections import places
from clew_projections.apply import advance_stored
from clew_projections.consistency.explain import why_page, why_thread
from clew_projections.places import Places
from clew_projections.views import StoredView, absent_stored
from support.commits import CREATED, THREAD, added, chain

FIRST = added(1).item
HISTORY = chain(
    [CREATED],
    [MetadataUpdated(set={"plan": "free"}, unset=())],
    [added(1)],
    [MetadataUpdated(set={"mood": "calm"}, unset=())],
    [ItemMetadataUpdated(item=FIRST, set={"a": "1"}, unset=())],
    [MetadataUpdated(set={"plan": "paid"}, unset=())],
)


def stored(history: list[Recorded]) -> tuple[StoredView, dict[int, Places]]:
    view, pages = absent_stored("default", THREAD), dict[int, Places]()
    for each in history:
        view, pages = advance_stored(view, pages, each)
    return view, pages


def view_of(history: list[Recorded]) -> StoredView:
    return stored(history)[0]


RIGHT = view_of(HISTORY)


def test_a_view_without_one_commit_names_it() -> None:
    assert "commit 4 at sequence 4 was missed" in why_thread(replace(RIGHT, metadata={"plan": "paid"}), HISTORY)
    without_message = replace(RIGHT, messages=0, last_ordinal=0)
    assert "commit 3 at sequence 3 was missed" in why_thread(without_message, HISTORY)


def test_a_view_that_stands_where_it_was_earlier_names_all_it_has_missed() -> None:
    earlier = view_of(HISTORY[:3])
    stale = replace(RIGHT, metadata=earlier.metadata, messages=earlier.messages, last_ordinal=earlier.last_ordinal)
    assert "commits 4 to 6 were missed" in why_thread(stale, HISTORY)


def test_what_never_was_is_said_to_be_somebody_elses_with_the_commit_since_which_the_right_value_stands() -> None:
    said = why_thread(replace(RIGHT, metadata={"plan": "gold"}), HISTORY)
    assert "'metadata' has been right since commit 6" in said
    assert "something other than this fold wrote it" in said
    assert "(hash)" in why_thread(replace(RIGHT, hash="0" * 64), HISTORY)


def test_a_view_beyond_the_end_of_the_log_tells_of_lost_commits() -> None:
    assert "the log ends with commit 6" in why_thread(replace(RIGHT, n=9), HISTORY)


def test_places_that_never_were_are_said_to_be_somebody_elses() -> None:
    said = why_thread(replace(RIGHT, recent=replace(RIGHT.recent, added=(2,))), HISTORY)
    assert "(recent)" in said
    assert "something other than this fold wrote it" in said


def test_a_page_tells_what_it_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "PAGE", 1)
    right = stored(HISTORY)[1][0]
    assert "was deleted, or cannot be read" in why_page(None, 0, HISTORY)
    assert "commits 5 were missed: it is as after commit 4" in why_page(stored(HISTORY[:4])[1][0], 0, HISTORY)
    assert "it never was so, by commits 1 to 6" in why_page(replace(right, added=(2,)), 0, HISTORY)
