"""The stored formats, byte for byte. A file here never changes; a new event adds its own, and changes nothing here.

``make schema`` writes the file of an event that has none, from its example in the contract.
"""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

import pytest
from msgspec import Raw

from clew_events import codec, events
from clew_events.commit import Commit, Position, record_hash
from clew_events.content import (
    Attachment,
    AutoStrategy,
    CodeInterpreter,
    FileSearch,
    ImageFile,
    ImageFileSource,
    ImageUrl,
    ImageUrlSource,
    Message,
    StaticChunking,
    StaticStrategy,
    Text,
    Tool,
    ToolResources,
    VectorStore,
)
from golden.new_files import body_with, encoded

HERE = Path(__file__).parent
THREAD = "thread_0000000000000000000clew"
MESSAGE = "msg_000001abcdefghijklmnopqr"
STORE = "vs_0000000000000000000clew0"

RESOURCES = ToolResources(
    code_interpreter=CodeInterpreter(("file-1", "file-2")),
    file_search=FileSearch(
        vector_store_ids=(STORE,),
        vector_stores=(
            VectorStore(
                id=STORE,
                file_ids=("file-3",),
                chunking_strategy=StaticStrategy(StaticChunking(800, 400)),
                metadata={"kind": "manuals"},
            ),
        ),
    ),
)
FULL_MESSAGE = Message(
    role="user",
    content=(
        Text('Grüße, "Clew" \u2028 😀\n'),
        ImageFile(ImageFileSource("file-4", "high")),
        ImageUrl(ImageUrlSource("https://example.com/a.png")),
    ),
    attachments=(Attachment("file-5", (Tool("code_interpreter"), Tool("file_search"))),),
    metadata={"a": "1", "": "empty key"},
)
FIRST_EVENTS: dict[str, events.Event] = {
    "ThreadCreated": events.ThreadCreated(metadata={"b": "2", "a": "1"}, tool_resources=RESOURCES),
    "MetadataUpdated": events.MetadataUpdated(set={"a": "2"}, unset=("b",)),
    "ToolResourcesUpdated": events.ToolResourcesUpdated(
        tool_resources=ToolResources(
            file_search=FileSearch(vector_stores=(VectorStore(id=STORE, chunking_strategy=AutoStrategy()),))
        )
    ),
    "ItemAdded": events.ItemAdded(item=MESSAGE, ordinal=1, message=FULL_MESSAGE),
    "ItemMetadataUpdated": events.ItemMetadataUpdated(item=MESSAGE, set={"a": "2"}, unset=("",)),
    "ItemDeleted": events.ItemDeleted(item=MESSAGE),
    "ThreadDeleted": events.ThreadDeleted(),
}
"""The events there were when these files were written. It is complete: later events have their file alone."""
NAMES = tuple(event.__name__ for event in get_args(events.StoredEvent))
FIRST_HASH = "a3e2e740e278a23fe7608e892546465c80657b9edb02e2a6a90141ff5be98f82"
SECOND_HASH = "cce5fea7dc56a774e1914b6379c8f35656e5ef8f2864750e920a2831a318eda9"


def commit(n: int, prev: str | None, *recorded: events.Event, microsecond: int = 123456) -> Commit:
    return Commit(
        v=2,
        id=f"command-{n}",
        tenant="default",
        thread=THREAD,
        n=n,
        at=datetime(2026, 11, 22, 22, 0, n, microsecond, tzinfo=UTC),
        actor="billing",
        by="http:0123456789abcdef",
        command="UpdateThread",
        reason="asked by the customer" if n == 2 else None,
        prev=prev,
        events=recorded,
    )


COMMITS = {
    "commit-with-every-event": commit(1, None, *FIRST_EVENTS.values()),
    "items": commit(
        1,
        None,
        events.ItemAdded(item="own-1", ordinal=7, body=Raw(b'{"type":"x","n":[1.10,1e400,-0],"s":"\\u00e9\\/"}')),
        events.ItemReplaced(item="own-1", ordinal=7, body=Raw(b'{"type":"y"}')),
        events.ItemMetadataUpdated(item="own-1", ordinal=7, set={"a": "1"}, unset=()),
        events.ItemDeleted(item="own-1", ordinal=7),
        events.ErasureRequested(erasure="erasure_1", items=("own-1",), code=None, ordinals=(3, 7)),
    ),
    "chain-1": commit(1, None, events.ThreadCreated(metadata={}, tool_resources=ToolResources())),
    "chain-2": commit(2, FIRST_HASH, FIRST_EVENTS["MetadataUpdated"], microsecond=0),
    "chain-3": commit(3, SECOND_HASH, FIRST_EVENTS["ThreadDeleted"]),
}


def golden(name: str) -> bytes:
    file = HERE / f"{name}.commit"
    assert file.is_file(), f"tests/golden/{name}.commit is missing: 'make schema' writes it, and it never changes again"
    return file.read_bytes()


@pytest.mark.parametrize("name", NAMES)
def test_an_event_is_written_as_the_same_bytes_for_ever_and_read_back_whole(name: str) -> None:
    (event,) = codec.decode(golden(name)).events
    assert type(event).__name__ == name
    assert body_with(event) == golden(name)


@pytest.mark.parametrize("name", FIRST_EVENTS)
def test_an_event_in_its_file_is_the_one_that_was_written_there(name: str) -> None:
    assert body_with(FIRST_EVENTS[name]) == golden(name)
    assert codec.decode(golden(name)).events == (FIRST_EVENTS[name],)


@pytest.mark.parametrize("name", COMMITS)
def test_a_commit_is_written_as_the_same_bytes_for_ever_and_read_back_whole(name: str) -> None:
    assert encoded(COMMITS[name]) == golden(name)
    assert codec.decode(golden(name)) == COMMITS[name]


def test_every_event_there_is_has_its_golden_bytes_and_every_file_is_looked_at() -> None:
    assert set(FIRST_EVENTS) <= set(NAMES)
    assert {file.stem for file in HERE.glob("*.commit")} == {*NAMES, *COMMITS}


def test_the_tag_of_an_event_is_its_name_and_the_first_thing_written() -> None:
    for name in NAMES:
        assert b'"events":[{"type":"%s"' % name.encode() in golden(name)


def test_a_commit_names_its_predecessor_by_the_hash_of_its_record() -> None:
    assert record_hash(golden("chain-1")) == FIRST_HASH
    assert record_hash(golden("chain-2")) == SECOND_HASH
    chain = [codec.decode_recorded(golden(f"chain-{n}"), Position(0, n)) for n in (1, 2, 3)]
    assert [link.commit.prev for link in chain] == [None, chain[0].hash, chain[1].hash]


def test_one_flipped_bit_breaks_the_chain() -> None:
    body = bytearray(golden("chain-2"))
    body[body.index(b"billing")] ^= 1
    assert codec.decode(bytes(body)).actor == "cilling"
    assert record_hash(bytes(body)) != codec.decode(golden("chain-3")).prev


def test_a_field_that_a_later_version_added_is_read_past() -> None:
    body = golden("chain-1").replace(b'"v":2', b'"v":2,"added_later":[1]')
    assert codec.decode(body) == COMMITS["chain-1"]


def test_every_golden_file_is_canonical_and_ends_each_of_its_lines() -> None:
    for file in HERE.glob("*.commit"):
        body = file.read_bytes()
        codec.check_canonical(body)
        assert body.endswith(b"\n"), file.name
