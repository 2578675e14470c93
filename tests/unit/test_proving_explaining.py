"""A wrong view is explained: by the commit that was missed, or by what never was."""

from __future__ import annotations

from msgspec.structs import replace

from clew_events.commit import Recorded
from clew_events.events import ItemMetadataUpdated, MetadataUpdated
from clew_projections.apply import advance, advance_message, message_ids
from clew_projections.consistency.explain import why_message, why_thread
from clew_projections.views import MessageView, ThreadView, absent
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


def view_of(history: list[Recorded]) -> ThreadView:
    view = absent("default", THREAD)
    for each in history:
        view = advance(view, each)
    return view


def message_of(history: list[Recorded]) -> MessageView:
    view: MessageView | None = None
    for each in history:
        if FIRST in message_ids(each.commit):
            view = advance_message(view, FIRST, each.commit)
    assert view is not None
    return view


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


def test_a_message_tells_what_it_missed() -> None:
    assert "which added message" in why_message(None, FIRST, HISTORY)
    assert "commits 5 were missed: it is as it was after commit 3" in why_message(
        message_of(HISTORY[:3]), FIRST, HISTORY
    )
    assert "was never so" in why_message(replace(message_of(HISTORY), role="assistant"), FIRST, HISTORY)
    assert "its commit fields are not" in why_message(replace(message_of(HISTORY), n=6), FIRST, HISTORY)
