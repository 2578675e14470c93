"""What is said of a thread's past follows from its commits, for every history there can be."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clew_events.audit_replies import KeySet
from clew_events.commit import Recorded
from clew_events.errors import Corrupt
from clew_events.subjects import Address
from clew_projections.api_objects import message_object
from clew_projections.apply import advance, fold_items
from clew_projections.audit.as_of import ThreadAsOf, lists, origin
from clew_projections.audit.blame import blame
from clew_projections.audit.diff import difference
from clew_projections.audit.moments import NOW, Moment
from clew_projections.views import ItemView, ThreadView, absent
from support.commits import THREAD, advance_named
from support.simulation import Simulation, commands, lives

HERE = Address("default", THREAD)
stories = st.one_of(lives, st.lists(commands, max_size=20)).map(lambda asked: Simulation().run(asked))


def folded(records: Sequence[Recorded]) -> ThreadView:
    view = absent(*HERE)
    for each in records:
        view = advance(view, each)
    return view


def messages_then(records: Sequence[Recorded]) -> dict[str, ItemView]:
    views: dict[str, ItemView] = {}
    for each in records:
        views = advance_named(views, each.commit)
    return views


def there(views: dict[str, ItemView]) -> dict[str, ItemView]:
    return {message_id: view for message_id, view in views.items() if not view.deleted}


@settings(max_examples=30)
@given(stories, st.data())
def test_a_moment_is_the_fold_up_to_it(story: Simulation, data: st.DataObject) -> None:
    n = data.draw(st.integers(0, len(story.records)))
    folding = ThreadAsOf(HERE, Moment(n=n))
    taken = [folding.add(each) for each in story.records]
    assert taken == [True] * n + [False] * (len(story.records) - n)
    assert folding.view == folded(story.records[:n])
    views = there(messages_then(story.records[:n]))
    assert set(folding.places) == {view.ordinal for view in views.values()}
    by_seq = {each.position.seq: each for each in story.records}
    for ordinal, seqs in folding.places.items():
        assert fold_items({ordinal}, [by_seq[seq] for seq in seqs])[ordinal].id in views


@settings(max_examples=30)
@given(stories, st.data())
def test_a_difference_turns_the_one_state_into_the_other(story: Simulation, data: st.DataObject) -> None:
    since, until = sorted(data.draw(st.tuples(*(st.integers(0, len(story.records)),) * 2)))
    found = difference(HERE, story.records, Moment(n=since), Moment(n=until))
    old, new = folded(story.records[:since]), folded(story.records[:until])
    assert (found.status.before, found.status.after) == (old.status, new.status)
    assert (found.since.n, found.until.n) == (since, until)
    assert [each.n for each in found.commits] == list(range(since + 1, until + 1))

    metadata = dict(old.metadata)
    for change in found.metadata:
        assert metadata.get(change.key) == change.before != change.after
        metadata.pop(change.key, None)
        metadata |= {change.key: change.after} if change.after is not None else {}
    assert metadata == new.metadata
    resources = dict(lists(old.tool_resources))
    for each in found.tool_resources:
        assert resources.pop(each.resource, ()) == each.before != each.after
        resources |= {each.resource: each.after} if each.after else {}
    assert resources == lists(new.tool_resources)

    earlier, later = there(messages_then(story.records[:since])), there(messages_then(story.records[:until]))
    messages = {message_id: message_object(view) for message_id, view in earlier.items()}
    for change in found.messages:
        assert messages.pop(change.id, None) == change.before
        messages |= {change.id: change.after} if change.after is not None else {}
    assert messages == {message_id: message_object(view) for message_id, view in later.items()}


@settings(max_examples=30)
@given(stories, st.data())
def test_blame_names_the_last_commit_that_set_each_part(story: Simulation, data: st.DataObject) -> None:
    if not story.records:
        with pytest.raises(Corrupt):
            blame(HERE, [], NOW)
        return
    until = data.draw(st.integers(1, len(story.records)))
    records = story.records[:until]
    views = [folded(records[:n]) for n in range(until + 1)]
    found = blame(HERE, story.records, Moment(n=until))
    assert {each.key: each.value for each in found.metadata} == views[-1].metadata
    assert {each.resource: each.value for each in found.tool_resources if each.value} == lists(views[-1].tool_resources)
    for each in found.metadata:
        assert explains(each, views, records)
    ever = {key for view in views for key in view.metadata}
    assert {each.key for each in found.removed} == ever - set(views[-1].metadata)
    for gone in found.removed:
        assert gone.key in views[gone.by.n - 1].metadata
        assert all(gone.key not in view.metadata for view in views[gone.by.n :])
        assert gone.value == views[gone.by.n - 1].metadata[gone.key]
        assert gone.set_by.n < gone.by.n
    seen = messages_then(records)
    assert [each.id for each in found.messages] == list(seen)
    for message in found.messages:
        view = seen[message.id]
        assert (message.deleted is not None) == view.deleted
        assert message.changed.n == view.n
        if not view.deleted:
            assert {each.key: each.value for each in message.metadata} == view.metadata
    assert (found.deleted is not None) == (views[-1].status == "deleted")
    assert found.created == origin(records[0])


def explains(each: KeySet, views: Sequence[ThreadView], records: Sequence[Recorded]) -> bool:
    """Whether the value came with that commit, and has been so ever since."""
    held = all(view.metadata.get(each.key) == each.value for view in views[each.by.n :])
    return held and each.by == origin(records[each.by.n - 1])
