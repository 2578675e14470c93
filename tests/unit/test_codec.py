from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import get_args, get_type_hints

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.structs import replace

from clew_events import codec
from clew_events.commit import FORMAT, Commit, Position, Recorded, record_hash
from clew_events.content import ExpiresAfter, ImageUrl, ImageUrlSource, Message, Text, ToolResources
from clew_events.errors import Corrupt
from clew_events.events import (
    ErasedItemEvent,
    ErasureCompleted,
    ErasureRequested,
    Event,
    ExpiryUpdated,
    ForkedFrom,
    HoldPlaced,
    HoldReleased,
    ItemAdded,
    ItemDeleted,
    ItemEvent,
    ItemMetadataUpdated,
    ItemReplaced,
    ItemsCleared,
    MetadataUpdated,
    RetentionRemoved,
    RetentionSet,
    StandingHoldPlaced,
    StandingHoldReleased,
    StoredEvent,
    ThreadCreated,
    ThreadDeleted,
    ThreadEvent,
    ThreadRestored,
    ToolResourcesUpdated,
    is_erased,
    type_of,
)
from support.commits import SALT, body_of

# Lone surrogates are no Unicode text and cannot be written as UTF-8; nothing that was decoded holds one.
words = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
metadata = st.dictionaries(words, words, max_size=3)
unset = st.lists(words, max_size=3).map(tuple)
parts = st.one_of(st.builds(Text, words), st.builds(ImageUrl, st.builds(ImageUrlSource, words)))
messages = st.builds(
    Message,
    role=st.sampled_from(["user", "assistant"]),
    content=st.lists(parts, max_size=2).map(tuple),
    metadata=metadata,
)
happenings: st.SearchStrategy[Event] = st.one_of(
    st.builds(ThreadCreated, metadata=metadata, tool_resources=st.just(ToolResources())),
    st.builds(MetadataUpdated, set=metadata, unset=unset),
    st.builds(ToolResourcesUpdated, tool_resources=st.just(ToolResources())),
    st.builds(ItemAdded, item=words, ordinal=st.integers(0, 2**40), message=messages),
    st.builds(ItemMetadataUpdated, item=words, set=metadata, unset=unset),
    st.builds(ItemDeleted, item=words),
    st.builds(ThreadDeleted),
    st.builds(ThreadCreated, forked_from=st.builds(ForkedFrom)),
    st.builds(ItemReplaced, item=words, message=messages),
    st.builds(ErasureRequested, erasure=words, items=st.none() | st.lists(words).map(tuple), code=st.none() | words),
    st.builds(ErasureCompleted, erasure=words, certificate=words),
)
commits = st.builds(
    Commit,
    v=st.just(FORMAT),
    id=words,
    tenant=words,
    thread=words,
    n=st.integers(1, 2**40),
    at=st.datetimes(timezones=st.just(UTC)),
    actor=words,
    command=words,
    by=words,
    reason=st.none() | words,
    prev=st.none() | words,
    events=st.lists(happenings, max_size=4).map(tuple),
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=3),
    max_leaves=6,
)

PLAIN = Commit(
    v=FORMAT,
    id="c",
    tenant="default",
    thread="thread_1",
    n=1,
    at=datetime(2026, 1, 1, tzinfo=UTC),
    actor="a",
    by="nats",
    command="DeleteThread",
    prev=None,
    events=(ThreadDeleted(),),
)


EVERY_EVENT: tuple[Event, ...] = (
    ThreadCreated(metadata={}, tool_resources=ToolResources()),
    MetadataUpdated(set={"a": "1"}, unset=()),
    ToolResourcesUpdated(tool_resources=ToolResources()),
    ItemAdded(item="msg_1", ordinal=1, message=Message(role="user", content=(), metadata={})),
    ItemMetadataUpdated(item="msg_1", set={}, unset=("a",)),
    ItemDeleted(item="msg_1"),
    ThreadDeleted(),
    ItemReplaced(item="msg_1", message=Message(role="user", content=(), metadata={})),
    ItemsCleared(),
    ThreadRestored(),
    ExpiryUpdated(expires_after=ExpiresAfter("created_at", 30)),
    HoldPlaced(hold="case-7"),
    HoldReleased(hold="case-7"),
    ErasureRequested(erasure="erasure_1", items=None, code="asked"),
    ErasureCompleted(erasure="erasure_1", certificate="0" * 64),
    RetentionSet(name="all", after_days=90, since="created", then="erase", erase_after_days=None, where="{}"),
    RetentionRemoved(name="all"),
    StandingHoldPlaced(hold="case-8", where="{}"),
    StandingHoldReleased(hold="case-8"),
)
BARE = json.loads(body_of(PLAIN).split(b"\n")[0])
ADDED = ItemAdded(
    item="msg_1", ordinal=1, message=Message(role="user", content=(Text("Where is it?"),), metadata={"pin": "4711"})
)
FULL = replace(PLAIN, reason="asked to", events=(ADDED, ThreadDeleted()))


WITHOUT_FIELDS = {type_of(event): event for event in EVERY_EVENT if not event.__struct_fields__}


def altered(**fields: object) -> bytes:
    """The body of PLAIN with other fields in its record."""
    events = fields.get("events")
    contents = len(events) if isinstance(events, list) else 1
    return json.dumps({**BARE, **fields}).encode() + b"\n" * (contents + 2)


def relined(number: int, line: bytes) -> bytes:
    """The body of FULL with another line; 0 is the record."""
    lines = body_of(FULL).split(b"\n")
    lines[number] = line
    return b"\n".join(lines)


def read_or_corrupt(body: bytes) -> Commit | Corrupt:
    try:
        return codec.decode(body)
    except Corrupt as refusal:
        return refusal


@given(commits)
def test_what_was_written_is_what_is_read(commit: Commit) -> None:
    assert codec.decode(body_of(commit)) == commit


@given(commits)
def test_the_same_commit_gives_the_same_bytes(commit: Commit) -> None:
    body = body_of(commit)
    assert body_of(codec.decode(body)) == body


@given(st.binary(max_size=200))
@example(b"")
@example(b"null")
@example(b"[]")
@example(b"{}")
@example(b"\xff\xfe{}")
@example(b'{"v":2}')
@example(b'{"v":2}\n\n')
@example(b'{"v":1e400}')
@example(b'{"v":' + b"9" * 5000 + b"}")
@example(b"[" * 100_000)
@example(b"\x00" * 50)
def test_bytes_that_are_no_commit_are_corrupt_and_nothing_else(body: bytes) -> None:
    assert isinstance(read_or_corrupt(body), Corrupt)


@given(st.sampled_from([*BARE, "new"]), json_values)
def test_any_value_in_any_field_makes_a_commit_or_corrupt(field: str, value: object) -> None:
    read = read_or_corrupt(altered(**{field: value}))
    assert isinstance(read, (Commit, Corrupt))
    if field == "new":
        assert read == PLAIN


@given(st.integers(0, 400), st.integers(0, 255))
@example(136, 0x80)
def test_one_changed_byte_makes_a_commit_or_corrupt(place: int, byte: int) -> None:
    body = bytearray(body_of(PLAIN))
    body[place % len(body)] = byte
    assert isinstance(read_or_corrupt(bytes(body)), (Commit, Corrupt))


@given(st.integers(0, 400))
def test_a_commit_cut_short_is_corrupt(length: int) -> None:
    body = body_of(PLAIN)
    assert isinstance(read_or_corrupt(body[: length % len(body)]), Corrupt)


@given(json_values)
@example([])
@example({})
@example(None)
def test_whatever_stands_in_place_of_an_events_tag_is_named(tag: object) -> None:
    read = read_or_corrupt(altered(events=[{"type": tag}]))
    if isinstance(tag, str) and tag in WITHOUT_FIELDS:
        assert read == replace(PLAIN, events=(WITHOUT_FIELDS[tag],))
    else:
        assert isinstance(read, Corrupt)
        assert read.code in {"unknown_event", "unreadable_commit"}


@pytest.mark.parametrize(
    "body",
    [
        b'{"v":2,"events":' + b"[" * 100_000,
        b'{"v":2,"events":[{"type":"New","a":' + b"[" * 100_000 + b"]" * 100_000 + b"}]}",
    ],
)
def test_nesting_without_end_is_corrupt(body: bytes) -> None:
    assert isinstance(read_or_corrupt(body), Corrupt)


def test_an_unknown_event_is_an_error_that_names_it_even_among_known_ones() -> None:
    body = altered(events=[{"type": "ThreadDeleted"}, {"type": "ThreadForked", "from": "x"}])
    with pytest.raises(Corrupt, match="'ThreadForked'") as refusal:
        codec.decode(body)
    assert refusal.value.code == "unknown_event"


@pytest.mark.parametrize("version", [0, 1, 99, -1])
def test_a_format_from_another_time_is_an_error_that_names_it(version: int) -> None:
    for body in (altered(v=version), altered(v=version, events=[{"type": "ThreadForked"}])):
        with pytest.raises(Corrupt, match=f"format {version} ") as refusal:
            codec.decode(body)
        assert refusal.value.code == "unknown_format"


@pytest.mark.parametrize("field", sorted(BARE))
def test_every_field_of_a_record_must_be_there(field: str) -> None:
    raw = {name: value for name, value in BARE.items() if name != field}
    assert isinstance(read_or_corrupt(json.dumps(raw).encode() + b"\n\n\n"), Corrupt)


@pytest.mark.parametrize(
    "event",
    [
        {"type": "ItemDeleted"},
        {"type": "MetadataUpdated"},
        {"type": "ItemAdded", "item": "msg_1", "seal": "0"},
        {"set": {}},
        "ThreadDeleted",
        None,
    ],
)
def test_an_event_that_lacks_what_it_must_say_is_corrupt(event: object) -> None:
    assert isinstance(read_or_corrupt(altered(events=[event])), Corrupt)


def test_fields_that_a_later_version_added_are_read_past_everywhere() -> None:
    assert codec.decode(altered(later=1)) == PLAIN
    assert codec.decode(altered(events=[{"type": "ThreadDeleted", "later": "gdpr"}])) == PLAIN


def test_a_time_in_another_zone_is_the_same_moment() -> None:
    read = codec.decode(altered(at="2026-01-01T01:00:00+01:00"))
    assert read.at == PLAIN.at == datetime(2026, 1, 1, 1, tzinfo=timezone(timedelta(hours=1)))


def test_a_time_without_a_zone_is_no_moment() -> None:
    assert isinstance(read_or_corrupt(altered(at="2026-01-01T00:00:00")), Corrupt)


def test_a_body_is_read_together_with_its_place_and_its_hash() -> None:
    body = body_of(PLAIN)
    assert codec.decode_recorded(body, Position(3, 17)) == Recorded(
        PLAIN, Position(3, 17), record_hash(body), body=body
    )
    spaced = body.replace(b'"v":2', b'"v": 2')
    assert codec.decode_recorded(spaced, Position(3, 17)).hash != record_hash(body)


def test_what_a_person_wrote_is_in_no_record_and_each_event_has_its_line() -> None:
    record, command, first, second, end = body_of(FULL).split(b"\n")
    for written in (b"Where is it?", b"pin", b"4711", b"asked to", b"user"):
        assert written not in record
    assert json.loads(command) == {"salt": SALT, "reason": "asked to"}
    assert json.loads(first)["message"]["metadata"] == {"pin": "4711"}
    assert (second, end) == (b"", b"")
    assert json.loads(record)["events"] == [
        {"type": "ItemAdded", "item": "msg_1", "ordinal": 1, "seal": codec.seal(first)},
        {"type": "ThreadDeleted"},
    ]
    assert json.loads(record)["seal"] == codec.seal(command)


def test_the_hash_of_a_commit_is_that_of_its_record_line_alone() -> None:
    encoded = codec.encode(FULL, [SALT] * 3)
    assert encoded.hash == record_hash(encoded.body) == hashlib.sha256(encoded.body.split(b"\n")[0]).hexdigest()
    assert record_hash(relined(2, b"")) == record_hash(relined(1, b"")) == encoded.hash


@pytest.mark.parametrize("line", [1, 2])
def test_an_erased_content_is_read_as_erased_and_leaves_the_rest_and_the_hash_as_they_were(line: int) -> None:
    read = codec.decode(relined(line, b""))
    assert (read.reason, read.reason_erased) == ((None, True) if line == 1 else ("asked to", False))
    first, second = read.events
    assert second == ThreadDeleted()
    if line == 1:
        assert first == ADDED
    else:
        assert isinstance(first, ErasedItemEvent)
        assert (first.of, first.item, first.ordinal, first.effect) == ("ItemAdded", "msg_1", 1, "creates")
        assert type_of(first) == "ItemAdded"


@pytest.mark.parametrize("event", get_args(StoredEvent))
def test_every_event_without_its_content_is_of_the_same_family_and_effect(event: type[Event]) -> None:
    whole = next(each for each in EVERY_EVENT if isinstance(each, event))
    lines = body_of(replace(PLAIN, events=(whole,))).split(b"\n")
    erased = codec.decode(b"\n".join((lines[0], b"", b"", b""))).events[0]
    assert isinstance(erased, ThreadEvent) == isinstance(whole, ThreadEvent)
    assert (type_of(erased), erased.effect) == (event.__name__, event.effect)
    if isinstance(whole, ItemEvent):
        assert isinstance(erased, ItemEvent)
        assert erased.item == whole.item
    assert (type(erased) is event) == (not lines[2])


@pytest.mark.parametrize("salts", [[], [SALT], [SALT] * 4])
def test_there_is_a_salt_for_the_command_and_one_for_each_event(salts: list[str]) -> None:
    with pytest.raises((ValueError, IndexError)):
        codec.encode(FULL, salts)


@pytest.mark.parametrize(
    ("line", "content", "code"),
    [
        (2, b'{"salt":"","message":{}}', "broken_seal"),
        (1, b'{"salt":"","reason":"asked to"}', "broken_seal"),
        (2, b" ", "broken_seal"),
        (3, b"{}", "unsealed_content"),
        (4, b"{}", "unreadable_commit"),
        (4, b"\n", "unreadable_commit"),
        (3, b"\n", "unreadable_commit"),
    ],
)
def test_a_content_that_does_not_fit_the_record_is_corrupt_and_never_erased(
    line: int, content: bytes, code: str
) -> None:
    read = read_or_corrupt(relined(line, content))
    assert isinstance(read, Corrupt)
    assert read.code == code


@pytest.mark.parametrize("body", [b"\n".join(body_of(FULL).split(b"\n")[:count]) for count in range(1, 5)])
def test_another_number_of_lines_is_corrupt(body: bytes) -> None:
    assert isinstance(read_or_corrupt(body), Corrupt)
    assert isinstance(read_or_corrupt(body + b"\n"), Corrupt) or body.count(b"\n") == 3


def test_a_content_with_another_salt_does_not_fit() -> None:
    other = codec.encode(FULL, ["b3RoZXIgc2FsdCBvZiBhIHQ"] * 3)
    assert codec.decode(other.body) == FULL
    assert other.hash != record_hash(body_of(FULL))
    assert isinstance(read_or_corrupt(relined(2, other.body.split(b"\n")[2])), Corrupt)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"n":1,', b'"n":1,"n":1,'),
        (b'"pin":"4711"', b'"pin":"4711","pin":"4711"'),
        (b'"n":1,', b'"n": 1,'),
        (b'{"v"', b' {"v"'),
        (b'"v":2', b'"v" :2'),
    ],
)
def test_a_line_on_which_parsers_may_disagree_is_not_canonical(old: bytes, new: bytes) -> None:
    body = body_of(FULL)
    codec.check_canonical(body)
    assert old in body
    with pytest.raises(Corrupt):
        codec.check_canonical(body.replace(old, new))


def resealed(old: bytes, new: bytes) -> bytes:
    """The body of a commit with other bytes in a line, and with the seal that its content has then."""
    record, command, content, end = body_of(replace(PLAIN, events=(ADDED,))).split(b"\n")
    changed = content.replace(old, new)
    record = record.replace(codec.seal(content).encode(), codec.seal(changed).encode()).replace(old, new)
    return b"\n".join((record, command, changed, end))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"n":1,', b'"n":1,"n":1,'),
        (b'"n":1,', b'"n":1,"later":{},'),
        (b'"n":1,', b'"n":1,"later":{"a":1,"a":1},'),
        (b'"n":1,', b'"n":\t1,'),
        (b'"pin":"4711"', b'"pin":"4711","pin":"4711"'),
        (b'"pin":"4711"', b'"pin":"4711","\\u0070in":"4711"'),
        (b'"pin":"4711"', b'"p\\u0069n":"4711"'),
        (b'"pin":"4711"', b'"pin": "4711"'),
        (b'"pin":"4711"', b'"pin":"\\u00e9"'),
        (b'"pin":"4711"', b'"pin":4711'),
    ],
)
def test_decoding_with_a_look_at_the_lines_judges_as_both_do_one_after_the_other(old: bytes, new: bytes) -> None:
    body = resealed(old, new)
    assert body != resealed(old, old)

    def one_after_the_other() -> tuple[Commit, str]:
        commit = codec.decode(body)
        codec.check_canonical(body)
        return commit, record_hash(body)

    assert outcome_of(lambda: codec.decode_canonical(body)) == outcome_of(one_after_the_other)


def outcome_of(read: Callable[[], tuple[Commit, str]]) -> tuple[Commit, str] | str:
    try:
        return read()
    except Corrupt as refusal:
        return refusal.message


@pytest.mark.parametrize(
    "item", [b'{"type":"x","a":1,"a":2}', b'{"type":"x", "a":1}', b'{"type":"x","a":1e400}', b"[]"]
)
def test_an_item_that_is_kept_as_it_was_written_is_looked_at_too(item: bytes) -> None:
    body = body_of(replace(PLAIN, events=(ItemAdded(item="own-1", ordinal=1, body=Raw(item)),)))
    try:
        codec.check_canonical(body)
    except Corrupt:
        with pytest.raises(Corrupt):
            codec.decode_canonical(body)
    else:
        assert codec.decode_canonical(body) == (codec.decode(body), record_hash(body))


def test_no_field_of_a_content_keeps_as_it_was_written_what_is_deeper_in_it() -> None:
    assert "RawType" not in repr(msgspec.inspect.type_info(codec.RECORD))
    for content in codec.CONTENTS.values():
        kinds = {name: repr(msgspec.inspect.type_info(hint)) for name, hint in get_type_hints(content).items()}
        assert {name for name, kind in kinds.items() if "RawType" in kind} <= {"body"}
        assert kinds.get("body", "RawType()") == "RawType()"


def test_a_number_of_any_length_is_canonical() -> None:
    codec.check_canonical(b'{"many":%s}\n' % (b"9" * 10_000))


@given(commits)
def test_whatever_is_written_is_canonical(commit: Commit) -> None:
    codec.check_canonical(body_of(commit))


@pytest.mark.parametrize(("line", "content"), [(1, b"{}"), (1, b""), (2, b"{}"), (2, b""), (3, b"{}"), (4, b"\n")])
def test_the_seals_alone_tell_a_changed_content(line: int, content: bytes) -> None:
    codec.check_seals(body_of(FULL))
    codec.check_seals(body_of(FULL).replace(b"ItemAdded", b"ItemPinned"))
    with pytest.raises(Corrupt):
        codec.check_seals(relined(line, content))


@given(commits, st.data())
def test_redacting_takes_the_contents_of_some_numbers_and_no_other_byte(commit: Commit, data: st.DataObject) -> None:
    body = body_of(commit)
    numbers = data.draw(st.sets(st.integers(0, len(commit.events))))
    redacted = codec.redact(body, numbers)
    assert (record_hash(redacted), codec.redact(redacted, numbers)) == (record_hash(body), redacted)
    whole, left = body.split(b"\n"), redacted.split(b"\n")
    assert left == [b"" if line - 1 in numbers else content for line, content in enumerate(whole)]
    read = codec.decode(redacted)
    assert read.reason_erased == (commit.reason is not None and 0 in numbers)
    for number, (before, after) in enumerate(zip(commit.events, read.events, strict=True), start=1):
        assert (type_of(after), after.effect) == (type_of(before), before.effect)
        assert is_erased(after) == (number in numbers and type_of(before) in codec.CONTENTS)
        assert is_erased(after) or after == before
    if redacted == body:
        codec.check_seals(redacted)
    else:
        with pytest.raises(Corrupt) as missing:
            codec.check_seals(redacted)
        assert missing.value.code == "missing_content"


def test_a_content_put_back_with_another_salt_does_not_fit_what_was_redacted() -> None:
    again = codec.encode(FULL, ["b3RoZXIgc2FsdCBvZiBhIHQ"] * 3).body.split(b"\n")
    lines = codec.redact(body_of(FULL), {1}).split(b"\n")
    with pytest.raises(Corrupt) as refusal:
        codec.decode(b"\n".join((*lines[:2], again[2], *lines[3:])))
    assert refusal.value.code == "broken_seal"
