"""What a thread's tools may use, and how requests and attachments change it."""

from __future__ import annotations

import pytest

from clew_events.content import (
    AutoStrategy,
    CodeInterpreter,
    FileSearch,
    StaticChunking,
    StaticStrategy,
    ToolResources,
    VectorStore,
)
from clew_events.errors import Invalid
from clew_events.requests import (
    FilesForCode,
    NewAttachment,
    NewAutoStrategy,
    NewMessage,
    NewStaticChunking,
    NewStaticStrategy,
    NewStoresForSearch,
    NewTool,
    NewToolResources,
    NewVectorStore,
    StoresForSearch,
    ToolResourcesIn,
)
from clew_services.threads.stored_content import created_resources, updated_resources, with_attachments

SEED = ("thread_a", "cmd_1")
KNOWN = VectorStore(id="vs_1", file_ids=("file-1",))
HAS = ToolResources(CodeInterpreter(("file-0",)), FileSearch(("vs_1",), (KNOWN,)))


def message(*attached: tuple[str, tuple[str, ...]]) -> NewMessage:
    return NewMessage(
        role="user",
        content="hello",
        attachments=tuple(
            NewAttachment(file_id=file_id, tools=tuple(NewTool(type=tool) for tool in tools))  # type: ignore[arg-type]
            for file_id, tools in attached
        ),
    )


@pytest.mark.parametrize("nothing", [None, NewToolResources()])
def test_nothing_asked_for_is_nothing_given(nothing: NewToolResources | None) -> None:
    assert created_resources(nothing, *SEED) == ToolResources()


def test_tools_named_without_files_are_there_and_empty() -> None:
    asked = NewToolResources(code_interpreter=FilesForCode(), file_search=NewStoresForSearch())
    assert created_resources(asked, *SEED) == ToolResources(CodeInterpreter(()), FileSearch(()))


def test_a_store_that_exists_is_named_and_nothing_more_is_known_of_it() -> None:
    asked = NewToolResources(file_search=NewStoresForSearch(vector_store_ids=("vs_1",)))
    assert created_resources(asked, *SEED) == ToolResources(file_search=FileSearch(("vs_1",)))


@pytest.mark.parametrize(
    ("asked", "recorded"),
    [
        (None, None),
        (NewAutoStrategy(), AutoStrategy()),
        (
            NewStaticStrategy(static=NewStaticChunking(max_chunk_size_tokens=800, chunk_overlap_tokens=400)),
            StaticStrategy(StaticChunking(800, 400)),
        ),
    ],
)
def test_the_chunking_asked_for_is_kept(asked: NewAutoStrategy | None, recorded: AutoStrategy | None) -> None:
    new = NewVectorStore(chunking_strategy=asked)
    made = created_resources(NewToolResources(file_search=NewStoresForSearch(vector_stores=(new,))), *SEED)
    assert made.file_search is not None
    assert made.file_search.vector_stores[0].chunking_strategy == recorded


def test_a_new_stores_id_follows_from_the_seed() -> None:
    asked = NewToolResources(file_search=NewStoresForSearch(vector_stores=(NewVectorStore(),)))
    assert created_resources(asked, *SEED) == created_resources(asked, *SEED)
    assert created_resources(asked, *SEED) != created_resources(asked, "thread_a", "cmd_2")
    assert created_resources(asked, *SEED) != created_resources(asked, "thread_b", "cmd_1")


def test_an_update_changes_the_tools_it_names_and_keeps_the_other() -> None:
    files = ToolResourcesIn(code_interpreter=FilesForCode(file_ids=("file-9",)))
    assert updated_resources(HAS, files) == ToolResources(CodeInterpreter(("file-9",)), HAS.file_search)
    stores = ToolResourcesIn(file_search=StoresForSearch(vector_store_ids=("vs_2",)))
    assert updated_resources(HAS, stores) == ToolResources(HAS.code_interpreter, FileSearch(("vs_2",)))


def test_what_is_known_of_a_store_stays_known_while_it_is_used() -> None:
    kept = ToolResourcesIn(file_search=StoresForSearch(vector_store_ids=("vs_1",)))
    assert updated_resources(HAS, kept) == HAS
    dropped = updated_resources(HAS, ToolResourcesIn(file_search=StoresForSearch()))
    assert dropped.file_search == FileSearch(())


def test_null_takes_all_tools_away_and_an_empty_object_takes_none() -> None:
    assert updated_resources(HAS, None) == ToolResources()
    assert updated_resources(HAS, ToolResourcesIn()) == HAS


def test_attachments_of_all_messages_are_gathered_in_order_each_file_once() -> None:
    both = ("code_interpreter", "file_search")
    after = with_attachments(
        HAS,
        [message(("file-2", both), ("file-0", both)), message(("file-3", ("file_search",)), ("file-2", both))],
        *SEED,
    )
    assert after.code_interpreter == CodeInterpreter(("file-0", "file-2"))
    assert after.file_search == FileSearch(
        ("vs_1",), (VectorStore(id="vs_1", file_ids=("file-1", "file-2", "file-0", "file-3")),)
    )


def test_messages_without_attachments_change_nothing() -> None:
    assert with_attachments(HAS, [message(), message(("file-9", ()))], *SEED) is HAS


def test_a_store_made_for_attachments_is_not_the_one_made_by_request() -> None:
    asked = NewToolResources(file_search=NewStoresForSearch(vector_stores=(NewVectorStore(),)))
    requested = created_resources(asked, *SEED).file_search
    attached = with_attachments(ToolResources(), [message(("file-1", ("file_search",)))], *SEED).file_search
    assert requested is not None
    assert attached is not None
    assert requested.vector_store_ids != attached.vector_store_ids


def test_twenty_one_files_for_code_are_too_many_however_they_come() -> None:
    twenty = created_resources(
        NewToolResources(code_interpreter=FilesForCode(file_ids=tuple(map(str, range(20))))), *SEED
    )
    with pytest.raises(Invalid) as refusal:
        with_attachments(twenty, [message(("x", ("code_interpreter",)))], *SEED)
    assert refusal.value.param == "tool_resources.code_interpreter.file_ids"
    spread = [message((str(n), ("code_interpreter",))) for n in range(21)]
    with pytest.raises(Invalid):
        with_attachments(ToolResources(), spread, *SEED)
    searched = [message((str(n), ("file_search",))) for n in range(21)]
    assert with_attachments(ToolResources(), searched, *SEED).code_interpreter is None
