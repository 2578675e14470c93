"""Commits to bytes and back: UTF-8 JSON by msgspec.

Decoding is strict. An event tag or a format that this version does not know, and a body that is not a commit, raise
:class:`~clew_events.errors.Corrupt` with what was found. Fields that later versions added are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, get_args

import msgspec

from clew_events.commit import FORMAT, Commit, Position, Recorded, body_hash
from clew_events.errors import Corrupt
from clew_events.events import Event
from clew_events.ids import is_traceparent
from clew_events.upcast import UPCASTERS, Json, Upcaster, upcast

_ENCODER: Final = msgspec.json.Encoder()
_DECODER: Final = msgspec.json.Decoder(Commit)
# Not a JSON object, not UTF-8, or nested deeper than any reader goes: msgspec has a name only for the first.
UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
TAGS: Final[frozenset[str]] = frozenset(str(event.__struct_config__.tag) for event in get_args(Event))


def encode(commit: Commit) -> bytes:
    """The bytes to store. The same commit always gives the same bytes."""
    return _ENCODER.encode(commit)


def decode(body: bytes, upcasters: Mapping[str, Upcaster] = UPCASTERS) -> Commit:
    """The commit in a stored body.

    Raises:
        Corrupt: the body is no commit, or holds an event or a format that this version does not know.
    """
    try:
        commit = _DECODER.decode(body)
    except UNREADABLE as fault:
        commit = _decode_upcast(body, upcasters, fault)
    if commit.v != FORMAT:
        raise _future(commit.v)
    if commit.at.tzinfo is None:
        raise Corrupt(f"not a commit: its time {commit.at.isoformat()} has no zone", code="unreadable_commit")
    return commit


def decode_recorded(body: bytes, position: Position, trace: str | None = None) -> Recorded:
    """Decode a stored body into a commit with its position, its hash, and the ``traceparent`` stored with it."""
    known = trace if trace is not None and is_traceparent(trace) else None
    return Recorded(decode(body), position, body_hash(body), known, len(body))


def _decode_upcast(body: bytes, upcasters: Mapping[str, Upcaster], fault: Exception) -> Commit:
    # The slow way, taken only where the straight one failed: bring retired tags up to date, then judge again.
    try:
        raw = msgspec.json.decode(body, type=dict[str, object])
        if raw.get("v") != FORMAT:
            raise _future(raw.get("v"))
        events = msgspec.convert(raw.get("events"), list[Json])
    except UNREADABLE:
        raise Corrupt(f"not a commit: {fault}", code="unreadable_commit") from fault
    raw["events"] = current = [step for event in events for step in upcast(event, upcasters)]
    for event in current:
        tag = event.get("type")
        if not isinstance(tag, str) or tag not in TAGS:
            raise Corrupt(
                f"unknown event {tag!r}: written by a newer Clew, or not by Clew",
                code="unknown_event",
            ) from fault
    try:
        return msgspec.convert(raw, Commit)
    except msgspec.ValidationError:
        raise Corrupt(f"not a commit: {fault}", code="unreadable_commit") from fault


def _future(version: object) -> Corrupt:
    return Corrupt(f"commit format {version!r} is not {FORMAT}: written by another Clew", code="unknown_format")
