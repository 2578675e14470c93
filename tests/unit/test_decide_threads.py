"""The rules about threads: every command in every state a thread can be in."""

from __future__ import annotations

import pytest
from msgspec import UNSET

from clew_events import ids
from clew_events.commands import (
    AddMessage,
    Command,
    CreateThread,
    DeleteMessage,
    DeleteThread,
    EraseThread,
    OnThread,
    ReleaseHold,
    RestoreThread,
    UpdateMessage,
    UpdateThread,
)
from clew_events.content import CodeInterpreter, ExpiresAfter, FileSearch, Text, ToolResources, VectorStore
from clew_events.errors import AlreadyErased, AlreadyExists, ClewError, Invalid, NotFound
from clew_events.events import (
    ErasureRequested,
    Event,
    ExpiryUpdated,
    HoldPlaced,
    ItemAdded,
    MetadataUpdated,
    ThreadCreated,
    ThreadDeleted,
    ThreadRestored,
    ToolResourcesUpdated,
)
from clew_events.requests import (
    ExpiresAfterIn,
    FilesForCode,
    MetadataPatch,
    NewAttachment,
    NewMessage,
    NewStoresForSearch,
    NewText,
    NewTool,
    NewToolResources,
    NewVectorStore,
    StoresForSearch,
    ToolResourcesIn,
)
from clew_services.threads.decide import decide
from support.commits import CREATED, THREAD, added
from support.given import given

HELLO = NewMessage(role="user", content="hello")
FIRST = added(1).item
ERASED = ErasureRequested(erasure="erasure_1", items=None, code=None)
ABOUT_A_THREAD_THAT_IS: tuple[Command, ...] = (
    UpdateThread(thread_id=THREAD, metadata={"a": "1"}),
    UpdateThread(thread_id=THREAD),
    DeleteThread(thread_id=THREAD),
    AddMessage(thread_id=THREAD, message=HELLO),
    UpdateMessage(thread_id=THREAD, message_id=FIRST, metadata={"a": "1"}),
    UpdateMessage(thread_id=THREAD, message_id=FIRST),
    DeleteMessage(thread_id=THREAD, message_id=FIRST),
)


def named(command: Command) -> str:
    return command.named


def created(**metadata: str) -> ThreadCreated:
    return ThreadCreated(metadata=metadata, tool_resources=ToolResources())


# What is not there, is there already, or is gone.


@pytest.mark.parametrize("command", ABOUT_A_THREAD_THAT_IS, ids=named)
def test_a_thread_that_never_was_refuses_everything_but_its_creation(command: Command) -> None:
    given().when(command).refused(NotFound, code="thread_not_found", saying=f"No thread found with id '{THREAD}'.")


@pytest.mark.parametrize("command", ABOUT_A_THREAD_THAT_IS, ids=named)
def test_a_deleted_thread_refuses_everything(command: Command) -> None:
    given(CREATED, added(1), ThreadDeleted()).when(command).refused(NotFound, code="thread_not_found")


def test_a_thread_is_created_once() -> None:
    given(CREATED).when(CreateThread(thread_id=THREAD)).refused(
        AlreadyExists, code="already_exists", param="thread_id", saying=THREAD
    )


def test_a_deleted_thread_is_not_created_again() -> None:
    given(CREATED, ThreadDeleted()).when(CreateThread(thread_id=THREAD)).refused(
        AlreadyExists, code="already_exists", param="thread_id"
    )


# Creating.


@pytest.mark.parametrize(
    "command",
    [CreateThread(), CreateThread(messages=(), metadata={}, tool_resources=NewToolResources()), CreateThread(id="x")],
)
def test_a_thread_may_be_created_with_nothing_at_all(command: CreateThread) -> None:
    given().when(command).then(CREATED)


def test_a_thread_is_created_with_its_metadata() -> None:
    given().when(CreateThread(metadata={"a": "1", "b": ""})).then(created(a="1", b=""))


def test_a_thread_and_its_first_messages_are_created_together_in_order() -> None:
    texts = ("one", "two", "three")
    command = CreateThread(messages=tuple(NewMessage(role="user", content=text) for text in texts))
    first, *others = given().when(command).events
    assert first == CREATED
    assert [event.ordinal for event in others if isinstance(event, ItemAdded)] == [1, 2, 3]
    assert [event.message.content for event in others if isinstance(event, ItemAdded)] == [
        (Text(text),) for text in texts
    ]


def test_a_message_carries_its_ordinal_in_its_id() -> None:
    events = given().when(CreateThread(messages=(HELLO,) * 100)).events
    items = [event.item for event in events if isinstance(event, ItemAdded)]
    assert [ids.ordinal_of(item) for item in items] == list(range(1, 101))
    assert all(ids.is_message_id(item) for item in items)
    assert len(set(items)) == 100


def test_ids_follow_from_the_command_id_and_from_nothing_else() -> None:
    command = CreateThread(
        messages=(HELLO, HELLO),
        tool_resources=NewToolResources(file_search=NewStoresForSearch(vector_stores=(NewVectorStore(),))),
    )
    once, again = (given().when(command, under="cmd_1").events for _ in range(2))
    assert once == again
    other = given().when(command, under="cmd_2").events
    for mine, theirs in zip(once[1:], other[1:], strict=True):
        assert isinstance(mine, ItemAdded)
        assert isinstance(theirs, ItemAdded)
        assert mine.item != theirs.item
    assert once[0] != other[0]


def test_a_message_added_under_one_command_id_has_the_same_id_whenever_it_is_decided_again() -> None:
    command = AddMessage(thread_id=THREAD, message=HELLO)
    (early,) = given(CREATED).when(command).events
    (again,) = given(CREATED).when(command).events
    (late,) = given(CREATED, added(1)).when(command).events
    assert isinstance(early, ItemAdded)
    assert isinstance(late, ItemAdded)
    assert early == again
    assert ids.ordinal_of(late.item) == 2


def test_a_new_vector_store_gets_an_id_and_what_was_said_of_it_is_kept() -> None:
    new = NewVectorStore(file_ids=("file-1",), metadata={"a": "1"})
    command = CreateThread(
        tool_resources=NewToolResources(
            code_interpreter=FilesForCode(file_ids=("file-2",)), file_search=NewStoresForSearch(vector_stores=(new,))
        )
    )
    (event,) = given().when(command).events
    assert isinstance(event, ThreadCreated)
    search = event.tool_resources.file_search
    assert search is not None
    (store_id,) = search.vector_store_ids
    assert store_id.startswith("vs_")
    assert search.vector_stores == (VectorStore(id=store_id, file_ids=("file-1",), metadata={"a": "1"}),)
    assert event.tool_resources.code_interpreter == CodeInterpreter(("file-2",))


def test_files_attached_to_first_messages_become_the_threads_own() -> None:
    both = NewAttachment(file_id="file-1", tools=(NewTool(type="code_interpreter"), NewTool(type="file_search")))
    messages = (NewMessage(role="user", content="look", attachments=(both,)),)
    event, message = given().when(CreateThread(messages=messages)).events
    assert isinstance(event, ThreadCreated)
    assert isinstance(message, ItemAdded)
    assert event.tool_resources.code_interpreter == CodeInterpreter(("file-1",))
    search = event.tool_resources.file_search
    assert search is not None
    assert [store.file_ids for store in search.vector_stores] == [("file-1",)]
    assert search.vector_store_ids == tuple(store.id for store in search.vector_stores)


# Updating.


def test_an_update_that_says_nothing_does_nothing() -> None:
    given(created(a="1")).when(UpdateThread(thread_id=THREAD)).then()


def test_metadata_that_is_there_already_is_not_set_again() -> None:
    given(created(a="1", b="2")).when(UpdateThread(thread_id=THREAD, metadata={"b": "2", "a": "1"})).then()


def test_only_the_difference_in_metadata_is_recorded() -> None:
    given(created(a="1", b="2", c="3")).when(
        UpdateThread(thread_id=THREAD, metadata={"d": "4", "a": "1", "c": "9"})
    ).then(MetadataUpdated(set={"d": "4", "c": "9"}, unset=("b",)))


@pytest.mark.parametrize("nothing", [None, {}])
def test_metadata_is_cleared_by_null_and_by_an_empty_object(nothing: dict[str, str] | None) -> None:
    given(created(a="1", b="2")).when(UpdateThread(thread_id=THREAD, metadata=nothing)).then(
        MetadataUpdated(set={}, unset=("a", "b"))
    )
    given(CREATED).when(UpdateThread(thread_id=THREAD, metadata=nothing)).then()


def test_a_patch_changes_the_keys_it_names_and_no_other() -> None:
    given(created(a="1", b="2", c="3")).when(
        UpdateThread(thread_id=THREAD, patch=MetadataPatch(set={"a": "9", "d": "4"}, unset=("b",)))
    ).then(MetadataUpdated(set={"a": "9", "d": "4"}, unset=("b",)))


def test_a_patch_that_changes_nothing_does_nothing() -> None:
    patch = MetadataPatch(set={"a": "1"}, unset=("z", "y"))
    given(created(a="1")).when(UpdateThread(thread_id=THREAD, patch=patch)).then()
    given(created(a="1")).when(UpdateThread(thread_id=THREAD, patch=MetadataPatch())).then()


def test_a_key_that_a_patch_sets_and_unsets_is_gone() -> None:
    patch = MetadataPatch(set={"a": "2", "b": "3"}, unset=("a", "b"))
    given(created(a="1")).when(UpdateThread(thread_id=THREAD, patch=patch)).then(MetadataUpdated(set={}, unset=("a",)))


def test_a_patch_may_fill_metadata_up_to_sixteen_keys_and_not_beyond() -> None:
    fifteen = created(**{f"k{n}": "v" for n in range(15)})
    one, two = MetadataPatch(set={"x": "1"}), MetadataPatch(set={"x": "1", "y": "2"})
    given(fifteen).when(UpdateThread(thread_id=THREAD, patch=one)).then(MetadataUpdated(set={"x": "1"}, unset=()))
    given(fifteen).when(UpdateThread(thread_id=THREAD, patch=two)).refused(
        Invalid, code="object_above_max_properties", param="metadata", saying="17 properties"
    )


def test_a_patch_that_makes_room_first_is_within_the_limit() -> None:
    full = created(**{f"k{n}": "v" for n in range(16)})
    patch = MetadataPatch(set={"x": "1", "k1": "2"}, unset=("k0",))
    given(full).when(UpdateThread(thread_id=THREAD, patch=patch)).then(
        MetadataUpdated(set={"x": "1", "k1": "2"}, unset=("k0",))
    )


def test_an_update_of_metadata_and_tools_is_two_events_in_one_commit() -> None:
    tools = ToolResourcesIn(code_interpreter=FilesForCode(file_ids=("file-1",)))
    given(CREATED).when(UpdateThread(thread_id=THREAD, metadata={"a": "1"}, tool_resources=tools)).then(
        MetadataUpdated(set={"a": "1"}, unset=()),
        ToolResourcesUpdated(tool_resources=ToolResources(code_interpreter=CodeInterpreter(("file-1",)))),
    )


def test_an_expiry_is_set_changed_and_taken_away_and_recorded_only_where_it_differs() -> None:
    asked = ExpiresAfterIn(anchor="created_at", days=30)
    expires = ExpiryUpdated(expires_after=ExpiresAfter("created_at", 30))
    given().when(CreateThread(expires_after=asked)).then(CREATED, expires)
    given(CREATED).when(UpdateThread(thread_id=THREAD, expires_after=asked)).then(expires)
    given(CREATED).when(UpdateThread(thread_id=THREAD, expires_after=None)).then()
    for same in (asked, UNSET):
        given(CREATED, expires).when(UpdateThread(thread_id=THREAD, expires_after=same)).then()
    given(CREATED, expires).when(UpdateThread(thread_id=THREAD, expires_after=None)).then(
        ExpiryUpdated(expires_after=None)
    )


def test_tools_that_are_as_asked_for_already_are_not_recorded_again() -> None:
    has = ToolResources(CodeInterpreter(("file-1",)), FileSearch(("vs_1",)))
    before = given(ThreadCreated(metadata={}, tool_resources=has))
    same = ToolResourcesIn(
        code_interpreter=FilesForCode(file_ids=("file-1",)), file_search=StoresForSearch(vector_store_ids=("vs_1",))
    )
    for asked in (same, ToolResourcesIn(), UNSET):
        before.when(UpdateThread(thread_id=THREAD, tool_resources=asked)).then()


def test_a_thread_can_be_deleted_once_and_keeps_its_messages_on_record() -> None:
    before = given(CREATED, added(1))
    before.when(DeleteThread(thread_id=THREAD)).then(ThreadDeleted())
    assert before.when(DeleteThread(thread_id=THREAD)).state.status == "deleted"


def test_a_deleted_thread_can_be_restored_and_takes_commands_again() -> None:
    before = given(created(a="1"), added(1), ThreadDeleted())
    restored = before.when(RestoreThread(thread_id=THREAD))
    restored.then(ThreadRestored())
    assert restored.state == given(created(a="1"), added(1)).state
    given(CREATED, ThreadDeleted(), ThreadRestored()).when(DeleteThread(thread_id=THREAD)).then(ThreadDeleted())


def test_restoring_what_is_there_changes_nothing() -> None:
    for events in ((CREATED,), (CREATED, ThreadDeleted(), ThreadRestored())):
        given(*events).when(RestoreThread(thread_id=THREAD)).then()


def test_what_was_erased_cannot_be_restored_and_neither_can_what_never_was() -> None:
    given(CREATED, ThreadDeleted(), ERASED).when(RestoreThread(thread_id=THREAD)).refused(
        AlreadyErased, code="already_erased", saying="erasure_1"
    )
    given().when(RestoreThread(thread_id=THREAD)).refused(NotFound, code="thread_not_found")


@pytest.mark.parametrize(
    ("command", "before", "said"),
    [
        (CreateThread(), (CREATED,), "A conversation with id 'conv_1' exists already"),
        (CreateThread(), (CREATED, ERASED), "Conversation 'conv_1' was erased already"),
        (UpdateThread(thread_id="conv_1"), (), "Conversation with id 'conv_1' not found"),
        (EraseThread(thread_id="conv_1"), (CREATED, HoldPlaced(hold="a")), "Conversation 'conv_1' is under the legal"),
        (ReleaseHold(thread_id="conv_1", hold="a"), (CREATED,), "Conversation 'conv_1' has no legal hold 'a'"),
        (RestoreThread(thread_id="conv_1"), (CREATED, ERASED), "Conversation 'conv_1' was erased already"),
    ],
)
def test_a_conversation_is_called_one(command: OnThread, before: tuple[Event, ...], said: str) -> None:
    with pytest.raises(ClewError) as refused:
        decide(command, "conv_1", "cmd_now", given(*before).state)
    assert said in refused.value.message


def test_a_text_part_and_a_bare_string_say_the_same() -> None:
    bare = CreateThread(messages=(HELLO,))
    parts = CreateThread(messages=(NewMessage(role="user", content=(NewText(text="hello"),)),))
    assert given().when(bare).events == given().when(parts).events
