from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from clew_events import codec
from clew_events.codec import TAGS
from clew_events.commit import FORMAT, Commit
from clew_events.errors import Corrupt
from clew_events.events import ErasedItemEvent, ErasedThreadEvent, ItemAdded, MetadataUpdated, ThreadDeleted
from clew_events.upcast import UPCASTERS, Current, Json, Upcaster, upcast
from support.commits import SALT, body_of

MADE = Commit(
    v=FORMAT,
    id="c",
    tenant="default",
    thread="thread_1",
    n=1,
    at=datetime(2026, 1, 1, tzinfo=UTC),
    actor="a",
    by="nats",
    command="UpdateThread",
    prev=None,
    events=(),
)


def bare(tag: str) -> Json:
    return {"type": tag}


def metadata_updated(_: Json) -> list[Json]:
    return [bare("MetadataUpdated")]


def renamed(content: Json) -> list[Json | None]:
    return [{"set": {content["key"]: content["value"]}, "unset": []}]


def one_for_each_pair(record: Json) -> list[Json]:
    return [bare("KeySet")] * record["pairs"]  # type: ignore[operator]


def pairs(content: Json) -> list[Json | None]:
    return [{"key": key, "value": value} for key, value in sorted(content["pairs"].items())]  # type: ignore[attr-defined]


def nothing(_: Json) -> list[Json]:
    return []


RETIRED = {
    "KeySet": Upcaster(metadata_updated, renamed),
    "KeysSet": Upcaster(one_for_each_pair, pairs),
    "Viewed": Upcaster(nothing),
    "MessageAdded": Upcaster(lambda record: [{**record, "type": "ItemAdded"}], lambda content: [content]),
}
GONE = (ThreadDeleted.__name__, None)


def body(*events: tuple[str, Json | None] | tuple[str, Json | None, Json]) -> bytes:
    """A stored body of events: tag, content, and what else is in the record. A content of {} was erased."""
    record = json.loads(body_of(MADE).split(b"\n")[0])
    records, contents = [], [b""]
    for tag, content, *more in events:
        line = b"" if content is None else json.dumps({"salt": SALT, **content}).encode()
        sealed = {} if content is None else {"seal": codec.seal(line)}
        records.append({"type": tag, **(more[0] if more else {}), **sealed})
        contents.append(line if content else b"")
    return b"\n".join((json.dumps({**record, "events": records}).encode(), *contents, b""))


def test_a_retired_event_is_read_as_what_says_the_same_today() -> None:
    read = codec.decode(body(("KeySet", {"key": "a", "value": "1"})), RETIRED)
    assert read.events == (MetadataUpdated(set={"a": "1"}, unset=()),)


def test_an_event_retired_twice_over_is_brought_up_step_by_step_and_in_order() -> None:
    read = codec.decode(body(("KeysSet", {"pairs": {"b": "2", "a": "1"}}, {"pairs": 2}), GONE), RETIRED)
    assert read.events == (
        MetadataUpdated(set={"a": "1"}, unset=()),
        MetadataUpdated(set={"b": "2"}, unset=()),
        ThreadDeleted(),
    )


def test_an_event_that_came_to_mean_nothing_leaves_no_trace() -> None:
    assert codec.decode(body(("Viewed", None), GONE), RETIRED).events == (ThreadDeleted(),)


def test_everything_but_the_events_is_kept() -> None:
    read = codec.decode(body(("Viewed", None)), RETIRED)
    assert read == MADE


def test_without_its_upcaster_a_retired_tag_is_an_error_that_names_it() -> None:
    with pytest.raises(Corrupt, match="'KeySet'") as refused:
        codec.decode(body(("KeySet", {"key": "a", "value": "1"})))
    assert refused.value.code == "unknown_event"


def test_an_upcaster_that_gives_an_unknown_tag_is_an_error_that_names_it() -> None:
    with pytest.raises(Corrupt, match="'Nonsense'"):
        codec.decode(body(("Old", None)), {"Old": Upcaster(lambda _: [bare("Nonsense")])})


def test_an_upcaster_that_gives_the_wrong_shape_is_an_error() -> None:
    with pytest.raises(Corrupt) as refused:
        codec.decode(body(("Old", {"a": 1})), {"Old": Upcaster(metadata_updated, lambda _: [{"set": 1}])})
    assert refused.value.code == "unreadable_commit"


def test_a_current_event_passes_unchanged() -> None:
    event = Current({"type": "ThreadDeleted"}, None, None)
    assert upcast(event, RETIRED) == [event]


def test_a_retired_event_whose_content_was_erased_is_converted_from_its_record_alone() -> None:
    read = codec.decode(
        body(("KeysSet", {}, {"pairs": 2}), ("MessageAdded", {}, {"item": "msg_1", "ordinal": 1})), RETIRED
    )
    first, second, third = read.events
    assert isinstance(first, ErasedThreadEvent)
    assert isinstance(second, ErasedThreadEvent)
    assert (first.of, second.of) == ("MetadataUpdated", "MetadataUpdated")
    assert isinstance(third, ErasedItemEvent)
    assert (third.of, third.item, third.ordinal) == (ItemAdded.__name__, "msg_1", 1)


def test_as_many_contents_as_records_have_to_come_from_an_upcaster() -> None:
    with pytest.raises(Corrupt):
        codec.decode(body(("KeysSet", {"pairs": {"b": "2"}}, {"pairs": 2})), RETIRED)


def test_a_content_that_a_retired_event_cannot_have_is_corrupt() -> None:
    with pytest.raises(Corrupt):
        codec.decode(body(("Viewed", {"a": 1})), RETIRED)


def test_no_current_event_is_in_the_table_of_retired_ones() -> None:
    assert not TAGS & set(UPCASTERS)
