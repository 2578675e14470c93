"""Threads from elsewhere: what becomes of the files of each source, and what is refused, with its place."""

from __future__ import annotations

import json
import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw

from clew_events.errors import Invalid, Rejected, TooLarge
from clew_services.imports import chatgpt_export, openai_dump, source_file, thread_commits
from clew_services.imports.langgraph_states import LangGraphStates
from clew_services.imports.part_store import PartStore
from clew_services.imports.source_file import read_objects
from clew_services.imports.source_thread import Branch, Source, SourceItem, SourceObject, SourceThread
from clew_services.imports.thread_commits import encode_thread, judge_thread
from support.commits import NOON, SALT
from support.exports import EXPORTS, assistant, conversation, node, written

LANGGRAPH = LangGraphStates(b"secret")


def threads_in(source: Source, *files: Path) -> list[SourceThread]:
    """The threads of a source in some files."""
    with PartStore() as store:
        for file in files:
            with read_objects(file) as objects:
                store.add("0" * 64, source.split(objects))
        return [thread for staged in store.threads() for thread in source.join(staged.id, staged.parts)]


def objects_in(file: Path) -> list[SourceObject]:
    with read_objects(file) as objects:
        return list(objects)


def bodies(thread: SourceThread) -> list[Any]:
    return [json.loads(bytes(item.body)) for item in thread.items]


def shapes(thread: SourceThread) -> list[tuple[str, str | None]]:
    return [(body["type"], body.get("role")) for body in bodies(thread)]


def refused(source: Source, *files: Path) -> str:
    with pytest.raises(Rejected) as caught:
        threads_in(source, *files)
    return caught.value.message


def at(*moment: int) -> datetime:
    return datetime(*moment, tzinfo=UTC)  # type: ignore[arg-type,misc]


def test_a_chatgpt_conversation_is_the_way_to_its_current_node_and_other_leaves_are_branches() -> None:
    packing, branch, cat = threads_in(chatgpt_export, EXPORTS / "chatgpt.json")
    assert packing.metadata == {"source_id": "bbb1c0de-0000-4000-8000-000000000000", "title": "Packing list"}
    assert packing.created_at == datetime(2024, 5, 11, 4, 0, 0, 123456, tzinfo=UTC)
    assert shapes(packing) == [
        ("message", "user"),
        ("reasoning", None),
        ("custom_tool_call", None),
        ("custom_tool_call_output", None),
        ("message", "assistant"),
    ]
    asked, _, call, output, said = bodies(packing)
    assert asked["content"][0] == {"type": "input_image", "file_id": "file-9rkQ", "detail": "auto"}
    assert asked["files"][0]["name"] == "tent.png"
    assert (call["name"], call["input"], output["call_id"], output["output"]) == (
        "python",
        "2.4 + 1.10",
        call["id"],
        "3.5",
    )
    assert (said["model"], said["content"][0]["text"]) == ("o4-mini", "3.5 kg 🏕")
    assert packing.items[4].created_at == datetime(2024, 5, 11, 4, 0, 5, 500000, tzinfo=UTC)
    assert branch.branch == Branch(packing.id, 1)
    assert [(body["id"][-2:], body["model"]) for body in bodies(branch)] == [("09", "gpt-4o")]
    assert (cat.branch, [body["id"] for body in bodies(cat)]) == (None, ["ask", "answer"])


def test_a_branch_of_a_branch_begins_where_it_leaves_that_and_keeps_its_id_when_it_grows(tmp_path: Path) -> None:
    nodes = [
        node("a", "root", "user", "Hi"),
        assistant("b", "a", "Hello"),
        assistant("c", "a", "Hey"),
        node("d", "c", "user", "So?"),
        assistant("e", "d", "Well"),
        assistant("f", "d", "Hm"),
    ]
    main, first, second = threads_in(chatgpt_export, written(tmp_path, [conversation("b", nodes)]))
    assert [thread.branch for thread in (main, first, second)] == [None, Branch(main.id, 1), Branch(first.id, 3)]
    assert [[body["id"] for body in bodies(thread)] for thread in (first, second)] == [["c", "d", "e"], ["f"]]
    longer = [*nodes, node("g", "e", "user", "More")]
    again = threads_in(chatgpt_export, written(tmp_path, [conversation("b", longer)]))
    assert {thread.id for thread in again} == {main.id, first.id, second.id}


def test_an_edited_first_message_begins_a_thread_of_its_own(tmp_path: Path) -> None:
    nodes = [node("a", "root", "user", "Hi"), node("b", "root", "user", "Hello")]
    main, other = threads_in(chatgpt_export, written(tmp_path, [conversation("b", nodes)]))
    assert ([body["id"] for body in bodies(main)], other.branch) == (["b"], None)


def test_threads_of_openai_keep_ids_times_models_and_what_tools_were_asked() -> None:
    thread, _ = threads_in(openai_dump, EXPORTS / "openai.jsonl")
    assert (thread.id, thread.metadata, thread.created_at) == (
        "thread_abc123",
        {"customer": "c-17"},
        at(2023, 11, 3, 12, 2, 29),
    )
    asked, call, output, said = bodies(thread)
    assert (asked["id"], asked["role"], asked["metadata"]) == (
        "msg_Aa1bCc2dDd3eEe4fFf5gGg6h",
        "user",
        {"channel": "web"},
    )
    assert (call["type"], call["name"], json.loads(call["arguments"])) == ("function_call", "weather", {"city": "Oslo"})
    assert output == {"type": "function_call_output", "call_id": "call_1", "output": "18"}
    assert (said["model"], said["content"][0]["annotations"][0]["type"]) == ("gpt-4o", "file_citation")
    assert [item.created_at and item.created_at.second for item in thread.items] == [30, 35, 35, 40]


def test_items_of_a_conversation_stay_as_they_are_digit_for_digit() -> None:
    _, conversation = threads_in(openai_dump, EXPORTS / "openai.jsonl")
    assert (conversation.id, conversation.metadata) == ("conv_6f2a9c", {"topic": "demo"})
    assert bytes(conversation.items[3].body) == (
        b'{"type":"a_type_from_tomorrow","id":"new_1","value":1.10,"large":123456789012345678901234567890}'
    )
    assert [body["id"] for body in bodies(conversation)][:2] == ["msg_67ccd2bed1ec8190", "fc_1"]


def test_a_thread_of_langgraph_has_the_messages_of_its_newest_state_at_the_times_of_their_first() -> None:
    todo, cat = threads_in(LANGGRAPH, EXPORTS / "langgraph.jsonl")
    assert todo.metadata["source_id"] == "5d6f4c1e-8d0b-4f7e-9a43-1a2b3c4d5e6f"
    assert (todo.metadata["graph_id"], todo.metadata["beta"]) == ("agent", "true")
    assert shapes(todo) == [
        ("message", "user"),
        ("reasoning", None),
        ("message", "assistant"),
        ("function_call", None),
        ("function_call_output", None),
        ("message", "assistant"),
    ]
    assert [item.created_at and item.created_at.second for item in todo.items] == [1, 9, 9, 9, 9, 9]
    said, call = bodies(todo)[2:4]
    assert (said["model"], call["arguments"]) == ("claude-sonnet-4-5", '{"open":true,"most":1.50}')
    assert shapes(cat) == [("message", "system"), ("message", "user"), ("message", "assistant")]
    assert bodies(cat)[1]["content"][1] == {"type": "input_image", "image_url": "https://example.com/a.png"}


def test_ids_of_langgraph_that_are_names_are_hashed_with_a_secret_or_refused() -> None:
    first, second = (threads_in(LangGraphStates(key), EXPORTS / "langgraph.jsonl") for key in (b"one", b"two"))
    assert first[0].id == second[0].id, "a UUID names nobody"
    assert first[1].id != second[1].id
    assert "the id of thread 'ada@example.com' is no UUID" in refused(LangGraphStates(), EXPORTS / "langgraph.jsonl")


def test_a_branch_goes_on_counting_and_commits_are_chained_and_of_a_size() -> None:
    text = "x" * 100_000
    items = tuple(
        SourceItem(Raw(json.dumps({"type": "message", "role": "user", "content": text}).encode()), f"{n}", NOON)
        for n in range(7)
    )
    thread = SourceThread(source="test", source_id="1", id="thread_1", created_at=NOON, metadata={}, items=items)
    commits = encode_thread(
        judge_thread(thread, "acme", "f" * 64), NOON, lambda count: [SALT] * count, actor="ada", limit=8 * 1024 * 1024
    )
    assert [len(commit.commit.events) for commit in commits] == [3, 2, 2, 1]
    assert [commit.commit.prev for commit in commits] == [None, *(commit.hash for commit in commits[:-1])]
    assert {(commit.commit.command, commit.commit.by, commit.commit.actor) for commit in commits} == {
        ("ImportThread", "import", "ada")
    }
    with pytest.raises(TooLarge):
        encode_thread(
            judge_thread(thread, "acme", "f" * 64), NOON, lambda count: [SALT] * count, actor="ada", limit=64 * 1024
        )


def test_a_thread_that_is_too_large_to_be_stored_at_once_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_commits, "LARGEST_THREAD", 10)
    (thread, *_) = threads_in(openai_dump, EXPORTS / "openai.jsonl")
    with pytest.raises(TooLarge, match="thread thread_abc123: its items have"):
        judge_thread(thread, "acme", "0" * 64)


@pytest.mark.parametrize(
    ("nodes", "why"),
    [
        ([{**node("a", "b", "user", "x")}, node("b", "a", "user", "y")], "node a: its parents lead round in a circle"),
        ([node("a", "lost", "user", "x")], "node a: its parent lost is not in the tree"),
        ([node("a", "root", "robot", "x")], "node a: its author's role 'robot' is unknown"),
        ([node("a", "root", "user", "x", create_time=1e300)], "node a, 'create_time': 1e+300 is no time"),
        ([node("a", "root", "user", "x", create_time=10**400)], "node a, 'create_time'"),
        (
            [node("a", "root", "user", "x", content={"content_type": "hologram"})],
            "node a: its content is of the unknown type 'hologram'",
        ),
        (
            [node("a", "root", "user", "x", content={"content_type": "text", "parts": [{"content_type": "smell"}]})],
            "node a, 'parts[0]': it is of the unknown type 'smell'",
        ),
    ],
)
def test_a_conversation_that_cannot_be_is_refused_with_its_node(tmp_path: Path, nodes: list[Any], why: str) -> None:
    assert f"object 1, conversation c, {why}" in refused(chatgpt_export, written(tmp_path, [conversation("a", nodes)]))


def test_half_of_a_surrogate_pair_is_a_fault_of_the_object_that_has_it(tmp_path: Path) -> None:
    nodes = [[node("a", "root", "user", text)] for text in ("\ud83d\ude00 \\ud83d", "cut off \ud83d", "\ude00")]
    whole, *halves = objects_in(written(tmp_path, [conversation("a", each) for each in nodes]))
    assert whole.fault is None
    assert [half.fault is not None and half.fault.startswith("half of a surrogate pair") for half in halves] == [
        True
    ] * 2
    assert [json.loads(bytes(half.body))["conversation_id"] for half in halves] == ["c", "c"]


def test_a_conversation_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    twice = written(tmp_path, [conversation("a", [node("a", "root", "user", "x")])] * 2)
    assert (
        refused(chatgpt_export, twice) == f"{twice}, object 1, conversation c: it is there again, at {twice}, object 2"
    )


@pytest.mark.parametrize("item", [{"id": "a b"}, {"id": "same"}, {"content": 1}, {"role": "robot"}])
def test_an_item_that_the_rules_refuse_is_named_by_its_place(tmp_path: Path, item: dict[str, object]) -> None:
    message = {"type": "message", "role": "user", "content": "x", "id": "same"}
    page = {"object": "list", "data": [message, message | {"id": "other"} | item], "has_more": False}
    file = written(tmp_path, [{"object": "conversation", "id": "conv_1"}, page])
    (thread,) = threads_in(openai_dump, file)
    if item == {"content": 1}:
        judge_thread(thread, "acme", "0" * 64)  # kept as it is, as any item
        return
    with pytest.raises(Invalid, match=r"object 2, 'data\[1\]'"):
        judge_thread(thread, "acme", "0" * 64)


@pytest.mark.parametrize(
    ("source", "objects", "why"),
    [
        (openai_dump, [{"object": "response", "id": "resp_1"}], "its 'object' is 'response'"),
        (openai_dump, [{"type": "message"}], "an item comes before any conversation"),
        (openai_dump, [conversation("a", [])], "import it with --from chatgpt"),
        (openai_dump, [{"values": {}, "thread_id": "1"}], "import it with --from langgraph"),
        (openai_dump, [{"object": "thread"}], "it has no 'id'"),
        (openai_dump, [{"object": "thread.message", "thread_id": "thread_1"}], "nothing tells of thread_1 itself"),
        (openai_dump, [{"object": "thread", "id": "thread_1"}] * 2, "thread_1 is there twice, at"),
        (openai_dump, [{"object": "thread", "id": "no such"}], "'no such' cannot be the id of a thread"),
        (
            openai_dump,
            [{"object": "conversation", "id": "conv_1"}, {"object": "list", "data": [], "has_more": True}],
            "'has_more' is true, and no page follows",
        ),
        (
            openai_dump,
            [
                {"object": "thread", "id": "thread_1"},
                {"object": "list", "data": [{"object": "thread.message", "thread_id": "thread_1"}], "has_more": True},
                {"object": "list", "data": [{"object": "thread.run", "thread_id": "thread_1"}], "has_more": False},
            ],
            "'has_more' is true, and no page follows",
        ),
        (chatgpt_export, [{"object": "thread", "id": "thread_1"}], "are imported with --from openai"),
        (chatgpt_export, [{"id": "c", "mapping": {}}], "its 'mapping' is empty"),
        (chatgpt_export, [{"id": "c", "mapping": {"a": {}}, "current_node": "b"}], "its 'current_node' b is not"),
        (LANGGRAPH, [{"object": "thread", "id": "thread_1"}], "import it with --from openai"),
        (LANGGRAPH, [{"thread_id": "1", "values": {}}], "the state of thread 1 has no 'messages'"),
        (
            LANGGRAPH,
            [{"thread_id": "1", "values": {"messages": [{"type": "remove", "id": "1"}]}}],
            "'messages[0]': its type 'remove' is unknown",
        ),
        (
            LANGGRAPH,
            [{"thread_id": "1", "values": {"messages": [{"type": "ai", "content": [{"type": "smell"}]}]}}],
            "'messages[0]', 'content[0]': it is of the unknown type 'smell'",
        ),
        (
            LANGGRAPH,
            [{"thread_id": "1", "values": {"messages": [{"type": "tool", "content": "x"}]}}],
            "no 'tool_call_id'",
        ),
        (LANGGRAPH, [{"thread_id": "1", "values": {"messages": []}, "created_at": "today"}], "'today' is no time"),
    ],
)
def test_what_is_not_of_a_source_is_refused_with_its_place(
    tmp_path: Path, source: Source, objects: list[Any], why: str
) -> None:
    message = refused(source, written(tmp_path, objects))
    assert why in message
    assert message.startswith(f"{tmp_path}/written.json, object ")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", ": it is empty"),
        (b" [", ", object 1: the file ends before its array does: it is not whole"),
        (b'[{"a": 1}', ": the file ends before its array does"),
        (b'[{"a": 1}, {"b": "', ", object 2: the file ends in the middle of it"),
        (b'[{"a": 1} {"b": 2}]', ", behind object 1: expected ',' or ']', found '{'"),
        (b'[{"a": 1}, 2]', ", object 2: expected an object, found '2'"),
        (b'[{"a": 1}] x', ", line 1: expected an object, found 'x'"),
        (b'[{"a": 1}]\n[{"a": 1}, 3]', ", array 2, object 2: expected an object, found '3'"),
        (b'{"a": 1}\n{"a": tru', ", line 2: the file ends in the middle of it"),
        (
            b'{"a": 1}\n{"a" 1, "long": "enough to see the end"}\n',
            ", line 2: it is not JSON: Expecting ':' delimiter, in line 2",
        ),
        (b'{"a": 1}\n\n{"b": {"a": 1, "a": 2}}', ", line 3: the key 'a' is there twice"),
        (b'{"a": "\xff"}', ": it is not UTF-8 near byte 7"),
        (b"PK\x03\x04 no archive", ": the archive cannot be unpacked"),
        (b"[" * 5, ", object 1: expected an object, found '['"),
        (b'{"a":' + b"[" * 100_000, ", line 1: it is nested too deeply"),
    ],
)
def test_a_file_that_is_not_whole_or_no_json_is_refused_with_the_place(tmp_path: Path, text: bytes, why: str) -> None:
    file = tmp_path / "export.json"
    file.write_bytes(text)
    with pytest.raises(Invalid) as caught:
        objects_in(file)
    assert caught.value.message.startswith(f"{file}{why}")


def test_an_archive_is_read_and_one_that_unpacks_to_too_much_is_not(tmp_path: Path) -> None:
    good, bomb, other = (tmp_path / name for name in ("good.zip", "bomb.zip", "other.zip"))
    with zipfile.ZipFile(good, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("user.json", "{}")
        archive.write(EXPORTS / "chatgpt.json", "conversations.json")
    assert len(threads_in(chatgpt_export, good)) == 3
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("conversations.json", "w") as entry:
        for _ in range(80):
            entry.write(b" " * 1024 * 1024)
    with pytest.raises(TooLarge, match="the archive would unpack from"):
        objects_in(bomb)
    with zipfile.ZipFile(other, "w") as archive:
        archive.writestr("user.json", "{}")
    assert "has no 'conversations.json'" in refused(chatgpt_export, other)
    cut = tmp_path / "cut.zip"
    cut.write_bytes(good.read_bytes()[:-200])
    assert "the archive cannot be unpacked" in refused(chatgpt_export, cut)


def test_an_object_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_file, "LARGEST_OBJECT", 1_000)
    monkeypatch.setattr(source_file, "CHUNK", 100)
    with pytest.raises(TooLarge, match="object 1: the object has more than 1000 characters"):
        objects_in(written(tmp_path, [{"a": "x" * 5_000}]))


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=10,
)


@settings(max_examples=50)
@given(
    objects=st.lists(st.dictionaries(st.text(max_size=5), _VALUES, max_size=4), min_size=1, max_size=8),
    as_array=st.booleans(),
    chunk=st.integers(1, 50),
)
def test_objects_are_read_as_json_reads_them_however_the_file_is_cut(
    tmp_path_factory: pytest.TempPathFactory, objects: list[Any], *, as_array: bool, chunk: int
) -> None:
    file = tmp_path_factory.mktemp("objects") / "objects.json"
    lines = [json.dumps(each, ensure_ascii=chunk % 2 == 0) for each in objects]
    file.write_text(f"[{', '.join(lines)}]\n" if as_array else "\n".join(lines), "utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source_file, "CHUNK", chunk)
        there = [json.loads(bytes(placed.body)) for placed in objects_in(file)]
    assert there == objects


@settings(max_examples=50)
@given(st.lists(st.dictionaries(st.sampled_from(["id", "object", "mapping", "thread_id", "values", "data"]), _VALUES)))
def test_any_json_gives_threads_or_a_refusal(objects: list[dict[str, object]]) -> None:
    placed = [SourceObject(f"object {n}", Raw(json.dumps(each).encode())) for n, each in enumerate(objects)]
    for source in (openai_dump, chatgpt_export, LANGGRAPH):
        try:
            parts = list(source.split(placed))
            for thread in {part.thread for part in parts}:
                source.join(thread, [part for part in parts if part.thread == thread])
        except Rejected as fault:
            assert fault.message.startswith("object ")  # noqa: PT017
