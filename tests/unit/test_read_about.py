"""Commits decoded for some items: what is said of these and of the thread is there, and is checked as ever."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from clew_events.codec import decode
from clew_events.errors import Corrupt
from clew_events.events import ItemDeleted, ItemReplaced
from clew_projections.history.histories import LONG, read_about
from clew_projections.nats.stream_messages import StoredMessage
from support.commits import CREATED, added, body_of, commit

ADDED = [added(n, f"text {n}") for n in range(1, LONG + 9)]
LATER = [
    ItemReplaced(item=ADDED[2].item, message=added(3, "another").message),
    ItemDeleted(item=ADDED[3].item),
    ItemDeleted(item=ADDED[2].item),
]
WHOLE = commit(1, CREATED, *ADDED, *LATER)
BODY = body_of(WHOLE)


def stored(body: bytes) -> StoredMessage:
    return StoredMessage(7, "clew.evt.03.default.thread", body, {})


def test_of_a_long_commit_the_events_about_the_thread_and_the_items_are_read() -> None:
    assert read_about(stored(BODY), 3, {3}) == replace(WHOLE, events=(CREATED, ADDED[2], LATER[0], LATER[2]))


def test_a_short_commit_is_read_as_a_whole() -> None:
    short = commit(1, CREATED, *ADDED[:3])
    assert read_about(stored(body_of(short)), 3, {3}) == short


def test_an_erased_content_is_told_from_one_that_is_there() -> None:
    lines = BODY.split(b"\n")
    lines[2 + 3] = b""
    erased = decode(b"\n".join(lines))
    assert read_about(stored(b"\n".join(lines)), 3, {3}).events[1] == erased.events[3] != ADDED[2]


def test_a_changed_content_of_an_item_is_told_with_its_place() -> None:
    with pytest.raises(Corrupt, match=r"^sequence 7 of shard 3: the content of event 4 does not fit its seal"):
        read_about(stored(BODY.replace(b"text 3", b"text x")), 3, {3})


@pytest.mark.parametrize("body", [BODY[:-1], BODY + b"\n", BODY + b"x", BODY.replace(b"\n", b"", 1), BODY[5:]])
def test_what_is_no_commit_is_not_read_in_parts(body: bytes) -> None:
    with pytest.raises(Corrupt, match=r"^sequence 7 of shard 3: not a commit"):
        read_about(stored(body), 3, {3})
