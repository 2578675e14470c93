"""What holds for every history: it adds up to the same, however it was stored, cut and taken up again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from clew_events.codec import decode, decode_recorded
from clew_events.commit import Recorded
from clew_events.errors import Corrupt
from clew_projections.apply import advance
from clew_projections.fold import ThreadState, evolve
from clew_projections.views import ItemView, ThreadView, absent, decode_thread
from clew_projections.views import encode as encode_view
from support.commits import THREAD, advance_named, body_of
from support.simulation import Simulation, commands, lives

histories = st.one_of(lives, st.lists(commands, max_size=15)).map(lambda asked: Simulation().run(asked))
NOTHING = absent("default", THREAD)


def folded(records: list[Recorded], view: ThreadView = NOTHING) -> ThreadView:
    for each in records:
        view = advance(view, each)
    return view


def fold_messages(records: list[Recorded], views: dict[str, ItemView] | None = None) -> dict[str, ItemView]:
    folding = dict(views or {})
    for each in records:
        folding = advance_named(folding, each.commit)
    return folding


@given(histories)
def test_what_was_stored_and_read_again_adds_up_to_the_same(thread: Simulation) -> None:
    read = [decode_recorded(body, each.position) for body, each in zip(thread.bodies, thread.records, strict=True)]
    assert read == thread.records
    assert folded(read) == thread.view
    assert fold_messages(read) == thread.messages
    assert [body_of(each.commit) for each in read] == thread.bodies


@given(histories)
def test_a_view_is_the_plain_fold_of_its_events(thread: Simulation) -> None:
    state = ThreadState()
    for body in thread.bodies:
        for event in decode(body).events:
            state = evolve(state, event)
    for field in ThreadState.__struct_fields__:
        assert getattr(thread.view, field) == getattr(state, field)
    assert thread.view.n == len(thread.bodies)


@given(histories, st.data())
def test_a_view_from_any_point_taken_on_from_there_is_the_whole_fold(thread: Simulation, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(thread.records)))
    earlier, later = thread.records[:cut], thread.records[cut:]
    stored = decode_thread(encode_view(folded(earlier)))
    assert folded(later, stored) == thread.view
    assert fold_messages(later, fold_messages(earlier)) == thread.messages


@given(histories)
def test_views_survive_the_bucket_at_every_point(thread: Simulation) -> None:
    view = NOTHING
    assert decode_thread(encode_view(view)) == view
    for each in thread.records:
        view = advance(view, each)
        assert decode_thread(encode_view(view)) == view
        assert encode_view(decode_thread(encode_view(view))) == encode_view(view)


@given(histories, st.data())
def test_commits_that_come_again_change_no_message(thread: Simulation, data: st.DataObject) -> None:
    again = data.draw(st.lists(st.sampled_from(thread.records), max_size=5)) if thread.records else []
    assert fold_messages(again, thread.messages) == thread.messages


@given(histories, st.data())
def test_a_history_with_a_commit_left_out_or_changed_does_not_add_up(thread: Simulation, data: st.DataObject) -> None:
    if len(thread.records) < 2:
        return
    place = data.draw(st.integers(0, len(thread.records) - 2))
    missing = thread.records[:place] + thread.records[place + 1 :]
    with pytest.raises(Corrupt):
        folded(missing)
    altered = replace(thread.records[place], hash="0" * 64)
    with pytest.raises(Corrupt):
        folded([*thread.records[:place], altered, *thread.records[place + 1 :]])


@given(histories)
def test_every_id_is_remembered_with_its_own_commit(thread: Simulation) -> None:
    for each in thread.records:
        known = thread.view.find_spent(each.commit.id)
        assert known is not None
        n, spent = known
        assert (n, spent.seq) == (each.commit.n, each.position.seq)
