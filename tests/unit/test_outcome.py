"""What a command's caller is told, and how threads and messages look to callers."""

from __future__ import annotations

import pytest
from msgspec import UNSET
from msgspec.structs import replace

from clew_events.commands import (
    AddMessage,
    Command,
    CompleteErasure,
    CreateThread,
    DeleteMessage,
    DeleteThread,
    PlaceHold,
    ReleaseHold,
    RestoreThread,
    UpdateMessage,
    UpdateThread,
)
from clew_events.commit import Position, Recorded
from clew_events.content import CodeInterpreter, FileSearch, ImageUrl, ImageUrlSource, Text, ToolResources, VectorStore
from clew_events.events import (
    ErasureCompleted,
    ErasureRequested,
    Event,
    HoldPlaced,
    ItemDeleted,
    ItemMetadataUpdated,
    MetadataUpdated,
    ThreadDeleted,
    ThreadRestored,
    ToolResourcesUpdated,
)
from clew_events.objects import CodeInterpreterFiles, Gone, HeldThread, Resources, SearchStores, TextPart, TextValue
from clew_events.requests import MetadataPatch, NewMessage
from clew_projections.api_objects import message_object, retrieved_thread, thread_object
from clew_projections.apply import advance
from clew_projections.views import ItemView, ThreadView, absent
from clew_services.threads.result import outcome, receipt
from support.commits import CREATED, NOON, THREAD, added, advance_one, chain

HELLO = NewMessage(role="user", content="hello")
FIRST = added(1).item
HERE = Position(1, 77)


def folded(records: list[Recorded]) -> ThreadView:
    view = absent("default", THREAD)
    for each in records:
        view = advance(view, each)
    return view


def born(records: list[Recorded]) -> ItemView:
    return advance_one(None, FIRST, records[1].commit)


@pytest.mark.parametrize("command", [CreateThread(), UpdateThread(thread_id=THREAD)])
def test_who_creates_or_changes_a_thread_is_shown_the_thread(command: Command) -> None:
    records = chain([CREATED], [MetadataUpdated(set={"a": "1"}, unset=())])
    done = outcome(command, folded(records), (), HERE, records[-1].commit)
    assert (done.position, done.n) == (HERE, 2)
    assert done.thread == thread_object(folded(records))
    assert done.thread is not None
    assert done.thread.metadata == {"a": "1"}
    assert (done.message, done.deleted) == (None, None)


def test_who_deletes_a_thread_is_told_that_it_is_gone() -> None:
    records = chain([CREATED], [ThreadDeleted()])
    done = outcome(DeleteThread(thread_id=THREAD), folded(records), (), HERE, records[-1].commit)
    assert done.deleted == Gone(id=THREAD, object="thread.deleted")
    assert (done.thread, done.message, done.n) == (None, None, 2)


def test_who_restores_a_thread_is_shown_it_as_it_is_there_again() -> None:
    records = chain([CREATED], [added(1)], [ThreadDeleted()], [ThreadRestored()])
    done = outcome(RestoreThread(thread_id=THREAD), folded(records), (), HERE, records[-1].commit)
    assert done.thread == thread_object(folded(records[:2]))
    assert (done.deleted, done.message, done.n) == (None, None, 4)


@pytest.mark.parametrize("deleted", [False, True])
def test_who_holds_a_thread_is_told_of_its_holds_and_of_nothing_that_is_in_it(deleted: bool) -> None:
    end: list[Event] = [ThreadDeleted()] if deleted else []
    records = chain([CREATED], [added(1), *end], [HoldPlaced(hold="case-7")], [HoldPlaced(hold="case-8")])
    for command in (PlaceHold(thread_id=THREAD, hold="case-8"), ReleaseHold(thread_id=THREAD, hold="case-9")):
        done = outcome(command, folded(records), (), HERE, records[-1].commit)
        assert done.held == HeldThread(id=THREAD, holds=("case-7", "case-8"), deleted=deleted)
        assert (done.thread, done.message, done.deleted, done.n) == (None, None, None, 4)
        assert receipt(command, done).held == done.held


def test_who_completes_an_erasure_is_shown_nothing_so_that_the_same_can_be_told_again() -> None:
    requested = ErasureRequested(erasure="erasure_1", items=None, code=None)
    completed = ErasureCompleted(erasure="erasure_1", certificate="0" * 64)
    records = chain([CREATED], [ThreadDeleted(), requested], [completed])
    command = CompleteErasure(thread_id=THREAD, erasure="erasure_1", certificate="0" * 64)
    done = outcome(command, folded(records), (), HERE, records[-1].commit)
    assert (done.thread, done.message, done.deleted, done.n) == (None, None, None, 3)


def test_who_adds_a_message_is_shown_the_message_and_not_what_it_brought_along() -> None:
    tools = ToolResourcesUpdated(tool_resources=ToolResources(CodeInterpreter(("file-1",))))
    records = chain([CREATED], [added(1), tools])
    done = outcome(AddMessage(thread_id=THREAD, message=HELLO), folded(records), (), HERE, records[-1].commit)
    assert done.message == message_object(born(records))
    assert done.thread is None


def test_who_changes_a_message_is_shown_it_changed_whether_it_was_known_before_or_after() -> None:
    change = ItemMetadataUpdated(item=FIRST, set={"a": "1"}, unset=())
    records = chain([CREATED], [added(1)], [change])
    before = born(records)
    after = advance_one(before, FIRST, records[-1].commit)
    command = UpdateMessage(thread_id=THREAD, message_id=FIRST)
    told = [outcome(command, folded(records), (each,), HERE, records[-1].commit).message for each in (before, after)]
    assert told == [message_object(after)] * 2
    assert told[0] is not None
    assert told[0].metadata == {"a": "1"}


def test_who_changes_nothing_is_shown_what_is_there() -> None:
    records = chain([CREATED], [added(1)])
    command = UpdateMessage(thread_id=THREAD, message_id=FIRST)
    assert outcome(command, folded(records), (born(records),), HERE).message == message_object(born(records))


SAID = (TextPart(TextValue("hello")),)
TAGGED = NewMessage(role="user", content="hello", metadata={"b": "2"})


@pytest.mark.parametrize(
    ("command", "content", "metadata"),
    [
        (CreateThread(), UNSET, UNSET),
        (CreateThread(metadata={"b": "2"}, messages=(TAGGED,)), UNSET, {"b": "2"}),
        (UpdateThread(thread_id=THREAD), UNSET, UNSET),
        (UpdateThread(thread_id=THREAD, metadata=None), UNSET, {}),
        (UpdateThread(thread_id=THREAD, metadata={"b": "2"}), UNSET, {"b": "2"}),
        (UpdateThread(thread_id=THREAD, patch=MetadataPatch(set={"b": "2"}, unset=("a",))), UNSET, {"b": "2"}),
        (UpdateThread(thread_id=THREAD, patch=MetadataPatch(unset=("a",))), UNSET, UNSET),
        (AddMessage(thread_id=THREAD, message=HELLO), SAID, UNSET),
        (AddMessage(thread_id=THREAD, message=TAGGED), SAID, {"b": "2"}),
        (UpdateMessage(thread_id=THREAD, message_id=FIRST), UNSET, UNSET),
        (UpdateMessage(thread_id=THREAD, message_id=FIRST, metadata={}), UNSET, {}),
        (UpdateMessage(thread_id=THREAD, message_id=FIRST, patch=MetadataPatch(set={"b": "2"})), UNSET, {"b": "2"}),
        (DeleteThread(thread_id=THREAD), UNSET, UNSET),
        (RestoreThread(thread_id=THREAD), UNSET, UNSET),
        (DeleteMessage(thread_id=THREAD, message_id=FIRST), UNSET, UNSET),
    ],
)
def test_a_receipt_repeats_what_the_command_said_and_nothing_else_of_what_is_there(
    command: Command, content: object, metadata: object
) -> None:
    records = chain([CREATED], [added(1)], [MetadataUpdated(set={"a": "1"}, unset=())])
    commit = records[1].commit if isinstance(command, AddMessage) else None
    full = outcome(command, folded(records), (born(records),), HERE, commit)
    told = receipt(command, full)
    assert (told.position, told.n, told.deleted) == (full.position, full.n, full.deleted)
    if (thread := told.thread) is not None:
        assert (thread.id, thread.version, thread.metadata) == (THREAD, 3, metadata)
        assert full.thread is not None
        assert thread.created_at == full.thread.created_at
    if (message := told.message) is not None:
        assert (message.id, message.version, message.content, message.metadata) == (FIRST, 3, content, metadata)
        assert full.message is not None
        assert message.created_at == full.message.created_at
    assert (told.thread is None, told.message is None) == (full.thread is None, full.message is None)


def test_who_deletes_a_message_is_told_that_it_is_gone() -> None:
    records = chain([CREATED], [added(1)], [ItemDeleted(item=FIRST)])
    command = DeleteMessage(thread_id=THREAD, message_id=FIRST)
    done = outcome(command, folded(records), (born(records),), HERE, records[-1].commit)
    assert done.deleted == Gone(id=FIRST, object="thread.message.deleted")
    assert done.message is None


def test_a_thread_is_shown_with_its_first_commits_time_in_whole_seconds() -> None:
    shown = thread_object(folded(chain([CREATED], [added(1)])))
    assert shown.created_at == int(NOON.timestamp()) + 1
    assert (shown.id, shown.object) == (THREAD, "thread")


def test_tools_are_shown_by_their_ids_alone_and_left_out_when_there_are_none() -> None:
    view = folded(chain([CREATED]))
    assert thread_object(view).tool_resources == Resources()
    assert retrieved_thread(view).tool_resources == Resources(code_interpreter=CodeInterpreterFiles())
    store = VectorStore(id="vs_1", file_ids=("file-1",))
    tools = ToolResources(CodeInterpreter(("file-0",)), FileSearch(("vs_1",), (store,)))
    assert thread_object(replace(view, tool_resources=tools)).tool_resources == Resources(
        CodeInterpreterFiles(("file-0",)), SearchStores(("vs_1",))
    )


def test_a_messages_text_is_shown_as_a_value_with_annotations_and_other_parts_as_they_are() -> None:
    image = ImageUrl(ImageUrlSource("https://example.org/a.png"))
    before = born(chain([CREATED], [added(1)]))
    view = replace(before, message=replace(before.message, content=(Text("see"), image)))
    shown = message_object(view)
    assert shown.content == (TextPart(TextValue("see")), image)
    assert (shown.id, shown.thread_id, shown.role, shown.status) == (FIRST, THREAD, "user", "completed")
    assert shown.created_at == int(NOON.timestamp()) + 2
    assert (shown.assistant_id, shown.run_id, shown.incomplete_details) == (None, None, None)
