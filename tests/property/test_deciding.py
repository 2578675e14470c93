"""What holds for every decision, whatever was asked of whatever thread."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st
from msgspec import UNSET

from clew_events import ids
from clew_events.commands import (
    Command,
    CreateThread,
    DeleteThread,
    HoldCommand,
    OnTenant,
    PlaceHold,
    PlaceStandingHold,
    ReleaseStandingHold,
    RemoveRetention,
    RestoreThread,
    SetRetention,
    UpdateMessage,
    UpdateThread,
)
from clew_events.errors import AlreadyExists, ClewError, Invalid, NotFound
from clew_events.events import (
    HoldPlaced,
    HoldReleased,
    ItemAdded,
    ItemDeleted,
    ItemMetadataUpdated,
    MetadataUpdated,
    ThreadCreated,
    ThreadDeleted,
    ThreadRestored,
    ToolResourcesUpdated,
)
from clew_events.list_query import Condition
from clew_events.requests import MAX_FILES, MAX_PAIRS
from clew_projections.fold import ThreadState
from clew_projections.tenant_state import TenantState, evolve_tenant
from clew_services.threads.decide import decide
from clew_services.threads.tenant_rules import decide_tenant
from support.commits import THREAD
from support.simulation import Decided, Simulation, commands, lives, message_updates, updates

anything = st.lists(commands, max_size=12)


def again(decided: Decided) -> object:
    try:
        return decide(decided.command, THREAD, decided.id, decided.before, decided.items)
    except ClewError as refusal:
        return type(refusal), refusal.message, refusal.code, refusal.param


@given(anything)
def test_a_decision_follows_from_the_command_its_id_and_the_state_alone(asked: list[Command]) -> None:
    for decided in Simulation().run(asked).decided:
        assert again(decided) == again(decided)
        if isinstance(decided.events, tuple):
            assert again(decided) == decided.events


@given(anything)
def test_a_refusal_is_one_of_three_and_depends_on_what_the_thread_is(asked: list[Command]) -> None:
    for decided in Simulation().run(asked).decided:
        status, creating = decided.before.status, isinstance(decided.command, CreateThread)
        if creating and status != "absent":
            assert isinstance(decided.events, AlreadyExists)
        elif isinstance(decided.command, RestoreThread) and status != "absent":
            assert decided.events == (() if status == "open" else (ThreadRestored(),))
        elif isinstance(decided.command, HoldCommand) and status != "absent":
            held = decided.command.hold in decided.before.holds
            if isinstance(decided.command, PlaceHold):
                assert decided.events == (() if held else (HoldPlaced(hold=decided.command.hold),))
            else:
                assert isinstance(decided.events, NotFound) != held
        elif not creating and status != "open":
            assert isinstance(decided.events, NotFound)
            assert decided.events.code == "thread_not_found"
        elif isinstance(decided.events, ClewError):
            assert type(decided.events) in {Invalid, NotFound}


@given(lives, st.one_of(updates, message_updates))
def test_an_update_that_was_carried_out_has_nothing_left_to_do(life: list[Command], update: Command) -> None:
    thread = Simulation().run(life)
    once = thread.do(update)
    twice = thread.do(once.command)
    if isinstance(once.events, tuple):
        assert twice.events == ()


@given(lives, st.one_of(updates, message_updates))
def test_metadata_is_afterwards_what_was_asked_for_and_the_event_names_only_the_difference(
    life: list[Command], update: UpdateThread | UpdateMessage
) -> None:
    thread = Simulation().run(life)
    decided = thread.do(update)
    if isinstance(decided.events, ClewError):
        return
    command = decided.command
    assert isinstance(command, UpdateThread | UpdateMessage)
    if isinstance(command, UpdateThread):
        before, after = decided.before.metadata, thread.view.metadata
    else:
        assert decided.items
        before, after = decided.items[-1].metadata, thread.messages[command.message_id].metadata
    wanted = dict(before) if command.metadata is UNSET else dict(command.metadata or {})
    if command.patch is not UNSET:
        wanted |= command.patch.set
        wanted = {key: value for key, value in wanted.items() if key not in command.patch.unset}
    assert after == wanted
    for event in decided.events:
        if isinstance(event, MetadataUpdated | ItemMetadataUpdated):
            assert event.set or event.unset
            assert all(before.get(key) != value for key, value in event.set.items())
            assert all(key in before for key in event.unset)
            assert not set(event.set) & set(event.unset)


@given(anything)
def test_limits_hold_after_every_decision(asked: list[Command]) -> None:
    thread = Simulation()
    for command in asked:
        thread.do(command)
        tools = thread.view.tool_resources
        assert len(thread.view.metadata) <= MAX_PAIRS
        assert all(len(message.metadata) <= MAX_PAIRS for message in thread.messages.values())
        assert tools.code_interpreter is None or len(tools.code_interpreter.file_ids) <= MAX_FILES


@given(anything)
def test_a_history_begins_with_its_creation_and_what_follows_its_end_but_holds_is_that_it_is_restored(
    asked: list[Command],
) -> None:
    events = [event for record in Simulation().run(asked).records for event in record.commit.events]
    if events:
        assert isinstance(events[0], ThreadCreated)
    assert not any(isinstance(event, ThreadCreated) for event in events[1:])
    for end, event in pairwise(each for each in events if not isinstance(each, HoldPlaced | HoldReleased)):
        assert isinstance(end, ThreadDeleted) == isinstance(event, ThreadRestored)


@given(anything)
def test_messages_are_numbered_without_a_gap_and_deleted_at_most_once(asked: list[Command]) -> None:
    events = [event for record in Simulation().run(asked).records for event in record.commit.events]
    added = [event for event in events if isinstance(event, ItemAdded)]
    gone = [event.item for event in events if isinstance(event, ItemDeleted)]
    assert [event.ordinal for event in added] == list(range(1, len(added) + 1))
    assert [ids.ordinal_of(event.item) for event in added] == [event.ordinal for event in added]
    assert len(set(gone)) == len(gone)
    assert set(gone) <= {event.item for event in added}


@given(anything)
def test_the_thread_counts_the_messages_that_are_there(asked: list[Command]) -> None:
    thread = Simulation().run(asked)
    there = [message for message in thread.messages.values() if not message.deleted]
    assert thread.view.messages == len(there)
    assert thread.view.last_ordinal == len(thread.messages)


@given(anything)
def test_a_commit_never_says_what_was_so_already(asked: list[Command]) -> None:
    for decided in Simulation().run(asked).decided:
        if isinstance(decided.events, tuple):
            for event in decided.events:
                if isinstance(event, ToolResourcesUpdated):
                    assert event.tool_resources != decided.before.tool_resources
            if not decided.events:
                assert isinstance(decided.command, UpdateThread | UpdateMessage | RestoreThread | PlaceHold)


@given(lives)
def test_a_restored_thread_is_as_it_was_before_its_end(life: list[Command]) -> None:
    thread = Simulation().run(life)
    before, messages = thread.view, dict(thread.messages)
    thread.run([DeleteThread(thread_id=THREAD), RestoreThread(thread_id=THREAD), RestoreThread(thread_id=THREAD)])
    assert thread.view.n == before.n + 2
    for field in ThreadState.__struct_fields__:
        assert getattr(thread.view, field) == getattr(before, field)
    assert thread.messages == messages


@given(lives)
def test_a_deleted_thread_refuses_whatever_was_asked_of_it_before(life: list[Command]) -> None:
    thread = Simulation().run([*life, DeleteThread(thread_id=THREAD)])
    commits = len(thread.records)
    for decided in list(thread.decided):
        assert isinstance(thread.do(decided.command).events, ClewError)
    assert len(thread.records) == commits


_NAMES = st.sampled_from(("a", "b"))
_WHERE = st.sampled_from((Condition(), Condition.equal("plan", "gold"), Condition(every=(Condition(),))))
orders: st.SearchStrategy[OnTenant] = st.one_of(
    st.builds(
        SetRetention,
        name=_NAMES,
        after_days=st.integers(1, 2),
        since=st.sampled_from(("created", "changed")),
        then=st.just("delete"),
        where=st.none() | _WHERE,
        confirm=st.booleans(),
    ),
    st.builds(RemoveRetention, name=_NAMES),
    st.builds(PlaceStandingHold, hold=_NAMES, where=_WHERE),
    st.builds(ReleaseStandingHold, hold=_NAMES),
)


@given(st.lists(orders, max_size=20))
def test_what_a_tenant_ordered_is_in_force_and_ordering_it_again_changes_nothing(asked: list[OnTenant]) -> None:
    state = TenantState()
    policies: dict[str, SetRetention] = {}
    holds: dict[str, Condition] = {}
    for command in asked:
        try:
            events = decide_tenant(command, state, None)
        except ClewError:
            events = ()
        for event in events:
            state = evolve_tenant(state, event)
        match command:
            case SetRetention() if command.confirm:
                policies[command.name] = command
                assert decide_tenant(command, state, None) == ()
            case RemoveRetention():
                policies.pop(command.name, None)
            case PlaceStandingHold():
                holds.setdefault(command.hold, command.where)
            case ReleaseStandingHold():
                holds.pop(command.hold, None)
    assert {name: policy.condition for name, policy in state.policies.items()} == {
        name: command.where for name, command in policies.items()
    }
    assert {name: policy.after_days for name, policy in state.policies.items()} == {
        name: command.after_days for name, command in policies.items()
    }
    assert {name: hold.condition for name, hold in state.holds.items()} == holds
