"""The rules about messages."""

from __future__ import annotations

import pytest

from clew_events import ids
from clew_events.commands import AddMessage, Command, DeleteMessage, UpdateMessage
from clew_events.content import (
    Attachment,
    CodeInterpreter,
    FileSearch,
    ImageFile,
    ImageFileSource,
    ImageUrl,
    ImageUrlSource,
    Text,
    Tool,
    ToolResources,
    VectorStore,
)
from clew_events.errors import Invalid, NotFound
from clew_events.events import (
    ItemAdded,
    ItemDeleted,
    ItemMetadataUpdated,
    ThreadCreated,
    ToolResourcesUpdated,
)
from clew_events.requests import (
    MetadataPatch,
    NewAttachment,
    NewImageFile,
    NewImageFileSource,
    NewImageUrl,
    NewImageUrlSource,
    NewMessage,
    NewText,
    NewTool,
)
from support.commits import CREATED, THREAD, added
from support.given import given

FIRST = added(1).item
CODE = NewTool(type="code_interpreter")
SEARCH = NewTool(type="file_search")


def adding(*attached: tuple[str, NewTool], **said: object) -> AddMessage:
    attachments = tuple(NewAttachment(file_id=file_id, tools=(tool,)) for file_id, tool in attached)
    message = NewMessage(**{"role": "user", "content": "hello", **said}, attachments=attachments or None)  # type: ignore[arg-type]
    return AddMessage(thread_id=THREAD, message=message)


def updating(**said: object) -> UpdateMessage:
    return UpdateMessage(thread_id=THREAD, message_id=FIRST, **said)  # type: ignore[arg-type]


def with_files(count: int) -> ThreadCreated:
    files = tuple(f"file-{n}" for n in range(count))
    return ThreadCreated(metadata={}, tool_resources=ToolResources(code_interpreter=CodeInterpreter(files)))


def test_a_message_comes_after_all_that_were_ever_there() -> None:
    gone = ItemDeleted(item=added(2).item)
    (event,) = given(CREATED, added(1), added(2), gone).when(adding()).events
    assert isinstance(event, ItemAdded)
    assert event.ordinal == ids.ordinal_of(event.item) == 3


def test_a_message_is_recorded_with_everything_it_said() -> None:
    command = AddMessage(
        thread_id=THREAD,
        message=NewMessage(
            role="assistant",
            content=(
                NewText(text="see"),
                NewImageFile(image_file=NewImageFileSource(file_id="file-1", detail="low")),
                NewImageUrl(image_url=NewImageUrlSource(url="https://example.org/a.png")),
            ),
            attachments=(NewAttachment(file_id="file-2"),),
            metadata={"a": "1"},
        ),
    )
    (event,) = given(CREATED).when(command).events
    assert isinstance(event, ItemAdded)
    message = event.message
    assert (message.role, message.metadata) == ("assistant", {"a": "1"})
    assert message.content == (
        Text("see"),
        ImageFile(ImageFileSource("file-1", "low")),
        ImageUrl(ImageUrlSource("https://example.org/a.png", "auto")),
    )
    assert message.attachments == (Attachment("file-2"),)


def test_an_attachment_for_no_tool_leaves_the_threads_tools_alone() -> None:
    attachment = NewAttachment(file_id="file-1")
    command = AddMessage(thread_id=THREAD, message=NewMessage(role="user", content="hello", attachments=(attachment,)))
    assert [type(event) for event in given(CREATED).when(command).events] == [ItemAdded]


def test_an_attached_file_is_made_available_to_its_tool_in_the_same_commit() -> None:
    message, tools = given(with_files(1)).when(adding(("file-9", CODE))).events
    assert isinstance(message, ItemAdded)
    assert message.message.attachments == (Attachment("file-9", (Tool("code_interpreter"),)),)
    assert tools == ToolResourcesUpdated(
        tool_resources=ToolResources(code_interpreter=CodeInterpreter(("file-0", "file-9")))
    )


def test_a_file_the_tool_has_already_is_not_listed_twice() -> None:
    events = given(with_files(2)).when(adding(("file-1", CODE), ("file-1", CODE))).events
    assert [type(event) for event in events] == [ItemAdded]


def test_the_code_interpreter_takes_twenty_files_and_no_more() -> None:
    fits = given(with_files(19)).when(adding(("file-x", CODE))).state.tool_resources.code_interpreter
    assert fits is not None
    assert len(fits.file_ids) == 20
    given(with_files(20)).when(adding(("file-x", CODE))).refused(
        Invalid,
        code="array_above_max_length",
        param="tool_resources.code_interpreter.file_ids",
        saying="length 21",
    )
    assert given(with_files(20)).when(adding(("file-3", CODE))).events


def test_a_file_for_search_goes_into_the_store_that_the_thread_has() -> None:
    has = ToolResources(file_search=FileSearch(("vs_theirs",)))
    _, tools = given(ThreadCreated(metadata={}, tool_resources=has)).when(adding(("file-1", SEARCH))).events
    assert isinstance(tools, ToolResourcesUpdated)
    assert tools.tool_resources.file_search == FileSearch(
        ("vs_theirs",), (VectorStore(id="vs_theirs", file_ids=("file-1",)),)
    )


def test_files_for_search_share_one_new_store_when_the_thread_has_none() -> None:
    before = given(CREATED).when(adding(("file-1", SEARCH), ("file-2", SEARCH)))
    search = before.state.tool_resources.file_search
    assert search is not None
    assert len(search.vector_store_ids) == 1
    assert search.vector_stores == (VectorStore(id=search.vector_store_ids[0], file_ids=("file-1", "file-2")),)


def test_the_difference_in_a_messages_metadata_is_recorded() -> None:
    before = given(CREATED, added(1, metadata={"a": "1", "b": "2"}))
    before.when(updating(metadata={"a": "1", "c": "3"})).then(
        ItemMetadataUpdated(item=FIRST, set={"c": "3"}, unset=("b",))
    )
    before.when(updating(patch=MetadataPatch(set={"a": "9"}))).then(
        ItemMetadataUpdated(item=FIRST, set={"a": "9"}, unset=())
    )
    before.when(updating(metadata=None)).then(ItemMetadataUpdated(item=FIRST, set={}, unset=("a", "b")))


@pytest.mark.parametrize("said", [{}, {"metadata": {"a": "1"}}, {"patch": MetadataPatch(set={"a": "1"}, unset=("z",))}])
def test_a_change_of_a_message_that_changes_nothing_does_nothing(said: dict[str, object]) -> None:
    given(CREATED, added(1, metadata={"a": "1"})).when(updating(**said)).then()


def test_a_patch_of_a_message_stays_within_sixteen_keys() -> None:
    full = added(1, metadata={f"k{n}": "v" for n in range(16)})
    given(CREATED, full).when(updating(patch=MetadataPatch(set={"x": "1"}))).refused(
        Invalid, code="object_above_max_properties", param="metadata", saying="17 properties"
    )


def test_a_message_is_deleted_by_its_id() -> None:
    given(CREATED, added(1), added(2)).when(DeleteMessage(thread_id=THREAD, message_id=FIRST)).then(
        ItemDeleted(item=FIRST)
    )


@pytest.mark.parametrize(
    "command",
    [updating(metadata={"a": "1"}), updating(), DeleteMessage(thread_id=THREAD, message_id=FIRST)],
    ids=["change", "no change", "delete"],
)
def test_a_message_that_is_not_there_or_not_any_more_is_not_found(command: Command) -> None:
    gone = ItemDeleted(item=FIRST)
    for before in (given(CREATED), given(CREATED, added(1), gone)):
        before.when(command).refused(NotFound, code="message_not_found", saying=f"No message found with id '{FIRST}'.")


def test_a_message_of_another_thread_is_not_found() -> None:
    foreign = ids.item_id(1, "elsewhere")
    given(CREATED, added(1)).when(DeleteMessage(thread_id=THREAD, message_id=foreign)).refused(
        NotFound, code="message_not_found"
    )
