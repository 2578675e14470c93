from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from clew_events import codec
from clew_events.commit import Commit, Position, Recorded, body_hash
from clew_events.content import ImageUrl, ImageUrlSource, Message, Text, ToolResources
from clew_events.errors import Corrupt
from clew_events.events import (
    Event,
    MessageAdded,
    MessageDeleted,
    MessageMetadataUpdated,
    MetadataUpdated,
    ThreadCreated,
    ThreadDeleted,
    ToolResourcesUpdated,
)

# Lone surrogates are no Unicode text and cannot be written as UTF-8; nothing that was decoded holds one.
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
metadata = st.dictionaries(words, words, max_size=3)
unset = st.lists(words, max_size=3).map(tuple)
parts = st.one_of(st.builds(Text, words), st.builds(ImageUrl, st.builds(ImageUrlSource, words)))
messages = st.builds(
    Message,
    id=words,
    ordinal=st.integers(0, 2**40),
    role=st.sampled_from(["user", "assistant"]),
    content=st.lists(parts, max_size=2).map(tuple),
    metadata=metadata,
)
happenings: st.SearchStrategy[Event] = st.one_of(
    st.builds(ThreadCreated, metadata=metadata, tool_resources=st.just(ToolResources())),
    st.builds(MetadataUpdated, set=metadata, unset=unset),
    st.builds(ToolResourcesUpdated, tool_resources=st.just(ToolResources())),
    st.builds(MessageAdded, message=messages),
    st.builds(MessageMetadataUpdated, message_id=words, set=metadata, unset=unset),
    st.builds(MessageDeleted, message_id=words),
    st.builds(ThreadDeleted),
)
commits = st.builds(
    Commit,
    v=st.just(1),
    id=words,
    tenant=words,
    thread=words,
    n=st.integers(1, 2**40),
    at=st.datetimes(timezones=st.just(UTC)),
    actor=words,
    command=words,
    digest=words,
    prev=st.none() | words,
    events=st.lists(happenings, max_size=4).map(tuple),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)

PLAIN = Commit(
    v=1,
    id="c",
    tenant="default",
    thread="thread_1",
    n=1,
    at=datetime(2026, 1, 1, tzinfo=UTC),
    actor="a",
    command="DeleteThread",
    digest="0" * 16,
    prev=None,
    events=(ThreadDeleted(),),
)


def altered(**fields: object) -> bytes:
    return json.dumps({**json.loads(codec.encode(PLAIN)), **fields}).encode()


def read_or_corrupt(body: bytes) -> Commit | Corrupt:
    try:
        return codec.decode(body)
    except Corrupt as refusal:
        return refusal


@given(commits)
def test_what_was_written_is_what_is_read(commit: Commit) -> None:
    assert codec.decode(codec.encode(commit)) == commit


@given(commits)
def test_the_same_commit_gives_the_same_bytes(commit: Commit) -> None:
    body = codec.encode(commit)
    assert codec.encode(codec.decode(body)) == body


@given(st.binary(max_size=200))
@example(b"")
@example(b"null")
@example(b"[]")
@example(b"{}")
@example(b"\xff\xfe{}")
@example(b'{"v":1}')
@example(b'{"v":1e400}')
@example(b'{"v":' + b"9" * 5000 + b"}")
@example(b"[" * 100_000)
@example(b"\x00" * 50)
def test_bytes_that_are_no_commit_are_corrupt_and_nothing_else(body: bytes) -> None:
    assert isinstance(read_or_corrupt(body), Corrupt)


@given(st.sampled_from([*json.loads(codec.encode(PLAIN)), "new"]), json_values)
def test_any_value_in_any_field_makes_a_commit_or_corrupt(field: str, value: object) -> None:
    read = read_or_corrupt(altered(**{field: value}))
    assert isinstance(read, (Commit, Corrupt))
    if field == "new":
        assert read == PLAIN


@given(st.integers(0, 400), st.integers(0, 255))
@example(136, 0x80)
def test_one_changed_byte_makes_a_commit_or_corrupt(place: int, byte: int) -> None:
    body = bytearray(codec.encode(PLAIN))
    body[place % len(body)] = byte
    assert isinstance(read_or_corrupt(bytes(body)), (Commit, Corrupt))


@given(st.integers(0, 400))
def test_a_commit_cut_short_is_corrupt(length: int) -> None:
    body = codec.encode(PLAIN)
    assert isinstance(read_or_corrupt(body[: length % len(body)]), Corrupt)


@given(json_values)
@example([])
@example({})
@example(None)
def test_whatever_stands_in_place_of_an_events_tag_is_named(tag: object) -> None:
    read = read_or_corrupt(altered(events=[{"type": tag}]))
    if tag == "ThreadDeleted":
        assert read == PLAIN
    else:
        assert isinstance(read, Corrupt)
        assert read.code in {"unknown_event", "unreadable_commit"}


@pytest.mark.parametrize(
    "body",
    [
        b'{"v":1,"events":' + b"[" * 100_000,
        b'{"v":1,"events":[{"type":"New","a":' + b"[" * 100_000 + b"]" * 100_000 + b"}]}",
    ],
)
def test_nesting_without_end_is_corrupt(body: bytes) -> None:
    assert isinstance(read_or_corrupt(body), Corrupt)


def test_an_unknown_event_is_an_error_that_names_it_even_among_known_ones() -> None:
    body = altered(events=[{"type": "ThreadDeleted"}, {"type": "ThreadForked", "from": "x"}])
    with pytest.raises(Corrupt, match="'ThreadForked'") as refusal:
        codec.decode(body)
    assert refusal.value.code == "unknown_event"


@pytest.mark.parametrize("version", [0, 2, 99, -1])
def test_a_format_from_another_time_is_an_error_that_names_it(version: int) -> None:
    for body in (altered(v=version), altered(v=version, events=[{"type": "ThreadForked"}])):
        with pytest.raises(Corrupt, match=f"format {version} ") as refusal:
            codec.decode(body)
        assert refusal.value.code == "unknown_format"


@pytest.mark.parametrize("field", sorted(json.loads(codec.encode(PLAIN))))
def test_every_field_of_a_commit_must_be_there(field: str) -> None:
    raw = json.loads(codec.encode(PLAIN))
    del raw[field]
    assert isinstance(read_or_corrupt(json.dumps(raw).encode()), Corrupt)


@pytest.mark.parametrize(
    "event",
    [
        {"type": "MessageDeleted"},
        {"type": "MetadataUpdated", "set": {"a": 1}, "unset": []},
        {"type": "MessageAdded", "message": {}},
        {"set": {}},
        "ThreadDeleted",
        None,
    ],
)
def test_an_event_that_lacks_what_it_must_say_is_corrupt(event: object) -> None:
    assert isinstance(read_or_corrupt(altered(events=[event])), Corrupt)


def test_fields_that_a_later_version_added_are_read_past_everywhere() -> None:
    assert codec.decode(altered(later=1)) == PLAIN
    assert codec.decode(altered(events=[{"type": "ThreadDeleted", "reason": "gdpr"}])) == PLAIN


def test_a_time_in_another_zone_is_the_same_moment() -> None:
    read = codec.decode(altered(at="2026-01-01T01:00:00+01:00"))
    assert read.at == PLAIN.at == datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))


def test_a_time_without_a_zone_is_no_moment() -> None:
    assert isinstance(read_or_corrupt(altered(at="2026-01-01T00:00:00")), Corrupt)


def test_a_body_is_read_together_with_its_place_and_its_hash() -> None:
    body = codec.encode(PLAIN)
    expected = Recorded(PLAIN, Position(3, 17), body_hash(body), size=len(body))
    assert codec.decode_recorded(body, Position(3, 17)) == expected
    spaced = body.replace(b'"v":1', b'"v": 1')
    assert codec.decode_recorded(spaced, Position(3, 17)).hash != body_hash(body)
