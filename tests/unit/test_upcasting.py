from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from clew_events import codec
from clew_events.codec import TAGS
from clew_events.commit import Commit
from clew_events.errors import Corrupt
from clew_events.events import MetadataUpdated, ThreadDeleted
from clew_events.upcast import UPCASTERS, Json, upcast

MADE = Commit(
    v=1,
    id="c",
    tenant="default",
    thread="thread_1",
    n=1,
    at=datetime(2026, 1, 1, tzinfo=UTC),
    actor="a",
    command="UpdateThread",
    digest="0" * 16,
    prev=None,
    events=(),
)


def renamed(event: Json) -> list[Json]:
    return [{"type": "MetadataUpdated", "set": {event["key"]: event["value"]}, "unset": []}]


def older(event: Json) -> list[Json]:
    return [{"type": "KeySet", "key": key, "value": value} for key, value in sorted(event["pairs"].items())]


def nothing(_: Json) -> list[Json]:
    return []


RETIRED = {"KeySet": renamed, "KeysSet": older, "Viewed": nothing}


def body(*events: Json) -> bytes:
    raw = json.loads(codec.encode(MADE))
    return json.dumps({**raw, "events": events}).encode()


def test_a_retired_event_is_read_as_what_says_the_same_today() -> None:
    read = codec.decode(body({"type": "KeySet", "key": "a", "value": "1"}), RETIRED)
    assert read.events == (MetadataUpdated(set={"a": "1"}, unset=()),)


def test_an_event_retired_twice_over_is_brought_up_step_by_step_and_in_order() -> None:
    read = codec.decode(body({"type": "KeysSet", "pairs": {"b": "2", "a": "1"}}, {"type": "ThreadDeleted"}), RETIRED)
    assert read.events == (
        MetadataUpdated(set={"a": "1"}, unset=()),
        MetadataUpdated(set={"b": "2"}, unset=()),
        ThreadDeleted(),
    )


def test_an_event_that_came_to_mean_nothing_leaves_no_trace() -> None:
    assert codec.decode(body({"type": "Viewed"}, {"type": "ThreadDeleted"}), RETIRED).events == (ThreadDeleted(),)


def test_everything_but_the_events_is_kept() -> None:
    read = codec.decode(body({"type": "Viewed"}), RETIRED)
    assert read == MADE


def test_without_its_upcaster_a_retired_tag_is_an_error_that_names_it() -> None:
    with pytest.raises(Corrupt, match="'KeySet'") as refused:
        codec.decode(body({"type": "KeySet", "key": "a", "value": "1"}))
    assert refused.value.code == "unknown_event"


def test_an_upcaster_that_gives_an_unknown_tag_is_an_error_that_names_it() -> None:
    with pytest.raises(Corrupt, match="'Nonsense'"):
        codec.decode(body({"type": "Old"}), {"Old": lambda _: [{"type": "Nonsense"}]})


def test_an_upcaster_that_gives_the_wrong_shape_is_an_error() -> None:
    with pytest.raises(Corrupt) as refused:
        codec.decode(body({"type": "Old"}), {"Old": lambda _: [{"type": "MetadataUpdated", "set": 1}]})
    assert refused.value.code == "unreadable_commit"


def test_a_current_event_passes_unchanged() -> None:
    event: Json = {"type": "ThreadDeleted"}
    assert upcast(event, RETIRED) == [event]


def test_no_current_event_is_in_the_table_of_retired_ones() -> None:
    assert not TAGS & set(UPCASTERS)
