"""Commits to bytes and back: lines of UTF-8 JSON by msgspec, each ended by a line feed.

Line 1 is the **record**: what is kept for ever, and what hashes, chains and proofs are over. Line 2 is the content of
the command itself, line ``2 + i`` that of event ``i``. A line is empty where there is no content, or where it was
erased; there are always as many lines. The record has a **seal** for each content: the SHA-256 of the content line.
Every content begins with a random salt, so a seal confirms no guess once its line is gone.

Decoding is strict. An event tag or a format that this version does not know, a content that does not fit its seal, and
a body that is not a commit raise :class:`~clew_events.errors.Corrupt` with what was found. Fields that later versions
added are ignored.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, cast, get_args, get_type_hints

import msgspec
from msgspec import UNSET, Meta, Raw, Struct, UnsetType
from msgspec.structs import FieldInfo, asdict, astuple, fields

from clew_events.commit import FORMAT, Commit, Position, Recorded, record_of
from clew_events.errors import Corrupt
from clew_events.events import ERASABLE, ErasedItemEvent, ErasedThreadEvent, Event, StoredEvent
from clew_events.ids import is_traceparent
from clew_events.upcast import UPCASTERS, Current, Json, Upcaster, upcast

# Not a JSON object, not UTF-8, or nested deeper than any reader goes: msgspec has a name only for the first.
UNREADABLE: Final = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
TAGS: Final[frozenset[str]] = frozenset(event.__name__ for event in get_args(StoredEvent))


class EncodedCommit(Struct, frozen=True):
    """A commit with the body to store and the hash of its record."""

    commit: Commit
    body: bytes
    hash: str


class CommandContent(Struct, frozen=True):
    """Line 2 of a stored commit: the content of the command. Empty where no reason was given, or it was erased."""

    salt: str
    reason: str


class _Layout(Struct, frozen=True):
    """How an event is divided: a struct for its record, and one for its content.

    ``kept`` is the number of fields in the record; they stand first in the event, and the content's follow. ``raw`` are
    fields of the content that are kept as they were written. ``join`` makes an event of its record and its content.
    """

    record: Callable[..., Struct]
    kept: int
    event: Callable[..., Event]
    content: Callable[..., Struct] | None
    decode: Callable[[bytes], Any]
    raw: tuple[str, ...]
    join: Callable[[Any, Any], Event]


def _field(field: FieldInfo) -> tuple[str, Any] | tuple[str, Any, Any]:
    if field.default is not msgspec.NODEFAULT:
        return field.name, field.type, field.default
    return field.name, field.type


def _layout(event: type[Event]) -> _Layout:
    hints = get_type_hints(event, include_extras=True)
    erasable = [field for field in fields(event) if ERASABLE in getattr(hints[field.name], "__metadata__", ())]
    kept = [field for field in fields(event) if field not in erasable]
    if list(fields(event)) != [*kept, *erasable]:
        raise TypeError(f"{event.__name__} declares a field of its record behind one of its content")
    name = event.__name__
    seal = Annotated[
        str, Meta(description=f"The SHA-256 of the event's content ({name}Content), without the line feed.")
    ]
    # A field without a default cannot follow one with a default, so a missing seal is looked for when decoding.
    sealed: list[tuple[str, Any, Any]] = [("seal", seal | UnsetType, UNSET)] if erasable else []
    record = msgspec.defstruct(
        name + "Record",
        [*map(_field, kept), *sealed],
        namespace={"__doc__": f"{inspect.getdoc(event)}"},
        tag_field="type",
        tag=name,
        frozen=True,
        gc=False,
    )
    content = msgspec.defstruct(
        name + "Content",
        [("salt", str), *map(_field, erasable)],
        namespace={
            "__doc__": f"Line 2 + i of a stored commit: the content of event i, a {name}. Empty where it was erased."
        },
        frozen=True,
        gc=False,
    )
    bare = get_type_hints(event)
    raw = tuple(field.name for field in erasable if Raw in (bare[field.name], *get_args(bare[field.name])))
    values = [*(f"record.{field.name}" for field in kept), *(f"content.{field.name}" for field in erasable)]
    # Written out, which takes a third of the time that tuples of all values take.
    join = eval(f"lambda record, content: event({', '.join(values)})", {"event": event})  # noqa: S307 - names of fields
    decode = msgspec.json.Decoder(content).decode
    return _Layout(record, len(kept), event, content if erasable else None, decode, raw, join)


_LAYOUTS: Final[dict[type, _Layout]] = {event: _layout(event) for event in get_args(StoredEvent)}
_BY_RECORD: Final[dict[Any, _Layout]] = {layout.record: layout for layout in _LAYOUTS.values()}
_JOINS: Final = {
    layout.record: (layout.decode if layout.content is not None else None, layout.join) for layout in _LAYOUTS.values()
}
"""By type of record: what decodes the content that belongs to it, if one does, and what makes an event of both."""
_Records: Any = None
for _each in _LAYOUTS.values():
    _Records = _each.record if _Records is None else _Records | _each.record


class _Head(Struct, frozen=True, gc=False):
    """The fields of a record before its events."""

    v: int
    id: str
    tenant: str
    thread: str
    n: int
    at: datetime
    actor: str
    by: str
    command: str
    prev: str | None


_Record: Any = msgspec.defstruct(
    "CommitRecord",
    [("events", tuple[_Records, ...]), ("seal", str | UnsetType, UNSET)],
    bases=(_Head,),
    namespace={
        "__doc__": "Line 1 of a stored commit: what is kept for ever, and what hashes, chains and proofs are over. "
        "``seal`` is the SHA-256 of line 2, where that has or had a content."
    },
    frozen=True,
    gc=False,
)
RECORD: Final[type[Struct]] = _Record
"""The type of the first line of a stored commit."""
CONTENTS: Final[Mapping[str, type[Struct]]] = {
    event.__name__: cast("type[Struct]", layout.content)
    for event, layout in _LAYOUTS.items()
    if layout.content is not None
}
"""The types of the content lines of events, by tag. An event that is not among them has none."""
_SHA256: Final = hashlib.sha256
_ENCODE: Final = msgspec.json.Encoder().encode
_DECODE: Final = msgspec.json.Decoder(_Record).decode
_DECODE_ANY: Final = msgspec.json.Decoder().decode
_DECODE_COMMAND: Final = msgspec.json.Decoder(CommandContent).decode


_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*"')
_WHITE_SPACE: Final = re.compile(rb"[ \t\r]")


def seal(content: bytes) -> str:
    """The SHA-256 of a content line, without its end, in 64 hex digits."""
    return _SHA256(content).hexdigest()


def encode(commit: Commit, salts: Sequence[str]) -> EncodedCommit:
    """The bytes to store. The same commit and salts always give the same bytes.

    ``salts`` has one random text for the command and one for each event.
    """
    command_seal: str | UnsetType = UNSET
    contents = [b""]
    if commit.reason is not None:
        contents[0] = _ENCODE(CommandContent(salts[0], commit.reason))
        command_seal = seal(contents[0])
    records = []
    for event, salt in zip(commit.events, salts[1:], strict=True):
        layout = _LAYOUTS[type(event)]
        if layout.content is None:
            contents.append(b"")
            records.append(layout.record(*astuple(event)))
        else:
            values = astuple(event)
            content = _ENCODE(layout.content(salt, *values[layout.kept :]))
            contents.append(content)
            records.append(layout.record(*values[: layout.kept], _SHA256(content).hexdigest()))
    record = _ENCODE(
        _Record(
            commit.v,
            commit.id,
            commit.tenant,
            commit.thread,
            commit.n,
            commit.at,
            commit.actor,
            commit.by,
            commit.command,
            commit.prev,
            records,
            command_seal,
        )
    )
    return EncodedCommit(commit, b"\n".join((record, *contents, b"")), _SHA256(record).hexdigest())


def decode(body: bytes, upcasters: Mapping[str, Upcaster] = UPCASTERS) -> Commit:
    """The commit in a stored body.

    Raises:
        Corrupt: the body is no commit, or holds an event or a format that this version does not know, or a content
            that its seal does not fit.
    """
    return _decode(body.split(b"\n"), upcasters)


def decode_hashed(body: bytes) -> tuple[Commit, str]:
    """The commit in a stored body, and the hash of its record.

    Raises:
        Corrupt: see :func:`decode`.
    """
    lines = body.split(b"\n")
    return _decode(lines, UPCASTERS), seal(lines[0])


def decode_canonical(body: bytes) -> tuple[Commit, str]:
    """The commit in a stored body whose lines are canonical, and the hash of its record.

    Raises:
        Corrupt: see :func:`decode` and :func:`check_canonical`.
    """
    lines = body.split(b"\n")
    return _decode(lines, UPCASTERS, canonical=True), seal(lines[0])


def _decode(lines: Sequence[bytes], upcasters: Mapping[str, Upcaster], *, canonical: bool = False) -> Commit:
    try:
        read = _DECODE(lines[0])
    except UNREADABLE as fault:
        if canonical:
            _check_lines_canonical(lines)
        return _decode_upcast(lines, upcasters, fault)
    if read.v != FORMAT:
        raise _future(read.v)
    events, as_written = _decode_events(read.events, lines, canonical=canonical)
    # What msgspec writes is canonical, so lines that it would write so need no look of their own.
    if canonical and (not as_written or lines[1] or _ENCODE(read) != lines[0]):
        _check_lines_canonical(lines)
    return _commit(read, read.seal, lines[1], tuple(events))


def _decode_events(stored: Sequence[Any], lines: Sequence[bytes], *, canonical: bool) -> tuple[list[Event], bool]:
    """Return the events, and whether each content is what msgspec makes of it; only looked at if ``canonical``."""
    _check_lines(lines, len(stored))
    events: list[Event] = []
    as_written = True
    for number, one in enumerate(stored, start=1):
        (decode_content, join), content = _JOINS[type(one)], lines[number + 1]
        if decode_content is None:
            _check_seal(content, None, number)
            events.append(join(one, None))
        elif one.seal is UNSET:
            raise _unreadable(f"{_named(number)} has no seal")
        elif not content:
            events.append(_erased(_BY_RECORD[type(one)].event, one))
        else:
            if _SHA256(content).hexdigest() != one.seal:
                raise _broken_seal(number)
            try:
                erasable = decode_content(content)
            except UNREADABLE as fault:
                raise _unreadable(f"the content of event {number}: {fault}") from fault
            if canonical:
                as_written = as_written and _is_as_written(_BY_RECORD[type(one)], erasable, content)
            events.append(join(one, erasable))
    return events, as_written


def _is_as_written(layout: _Layout, erasable: Struct, content: bytes) -> bool:
    """Whether a content is what msgspec makes of it, with all that it keeps as it was written."""
    if _ENCODE(erasable) != content:
        return False
    for name in layout.raw:
        if (value := getattr(erasable, name)) is not UNSET and not _is_canonical(bytes(value)):
            return False
    return True


def decode_recorded(body: bytes, position: Position, trace: str | None = None, digest: str | None = None) -> Recorded:
    """Decode a stored body into a commit with its position, its hash, and the headers stored with it."""
    known = trace if trace is not None and is_traceparent(trace) else None
    commit, digested = decode_hashed(body)
    return Recorded(commit, position, digested, known, digest, body)


def redact(body: bytes, lines: Collection[int]) -> bytes:
    """Return a stored body with the contents of some numbers gone: 0 is that of the command, ``i`` that of event ``i``.

    Their lines stay, empty. All other bytes are those of ``body``, so its hash is, too.
    """
    record, *contents = body.split(b"\n")
    return b"\n".join((record, *(b"" if number in lines else line for number, line in enumerate(contents))))


class _Sealed(Struct, frozen=True):
    seal: str | None = None


class _Seals(Struct, frozen=True):
    events: tuple[_Sealed, ...]
    seal: str | None = None


_DECODE_SEALS: Final = msgspec.json.Decoder(_Seals).decode


def seals_of(body: bytes) -> tuple[str | None, ...]:
    """Return the seals in the record of a stored body: that of the command, and that of each event.

    Raises:
        Corrupt: the body is no commit.
    """
    try:
        seals = _DECODE_SEALS(record_of(body))
    except UNREADABLE as fault:
        raise _unreadable(str(fault)) from fault
    return (seals.seal, *(event.seal for event in seals.events))


def count_erased(body: bytes) -> int:
    """Count the contents that a stored body has a seal of and lacks."""
    record, *contents = body.split(b"\n")
    return max(0, record.count(b'"seal":') - sum(map(bool, contents)))


def check_seals(body: bytes, erased: Collection[int] = ()) -> None:
    """Check that each content of a stored body is there and fits its seal, in events of a newer version too.

    The contents of the numbers in ``erased`` may be missing.

    Raises:
        Corrupt: one is not or does not, or the body is no commit.
    """
    lines = body.split(b"\n")
    expected = seals_of(body)
    _check_lines(lines, len(expected) - 1)
    for number, content in enumerate(lines[1:-1]):
        if content:
            _check_seal(content, expected[number], number)
        elif expected[number] is not None and number not in erased:
            raise _missing_content(number)


def check_canonical(body: bytes) -> None:
    """Check that each line is one JSON object without duplicate keys and white space, so that all parsers agree on it.

    Raises:
        Corrupt: a line is not; the message names it.
    """
    _check_lines_canonical(body.split(b"\n")[:-1])


def _check_lines_canonical(lines: Iterable[bytes]) -> None:
    for number, line in enumerate(lines, start=1):
        if not line or _is_canonical(line):
            continue
        try:
            value = json.loads(line, object_pairs_hook=_unique, parse_int=str)
        except (ValueError, RecursionError) as fault:
            raise _unreadable(f"line {number}: {fault}") from fault
        if not isinstance(value, dict):
            raise _unreadable(f"line {number} is not a JSON object")
        if _WHITE_SPACE.search(_STRING.sub(b"", line)) is not None:
            raise _unreadable(f"line {number} has white space outside strings")


def _is_canonical(line: bytes) -> bool:
    """Whether a line is what msgspec makes of it. The full check, which costs many times as much, judges all others."""
    try:
        return line.startswith(b"{") and _ENCODE(_DECODE_ANY(line)) == line
    except UNREADABLE:
        return False


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    unique = dict(pairs)
    if len(unique) < len(pairs):
        raise ValueError("a duplicate key")
    return unique


def _commit(read: _Head, sealed: str | UnsetType, content: bytes, events: tuple[Event, ...]) -> Commit:
    if read.at.tzinfo is None:
        raise _unreadable(f"its time {read.at.isoformat()} has no zone")
    reason = None
    if content:
        _check_seal(content, None if isinstance(sealed, UnsetType) else sealed, 0)
        try:
            reason = _DECODE_COMMAND(content).reason
        except UNREADABLE as fault:
            raise _unreadable(f"the content of its command: {fault}") from fault
    return Commit(
        v=read.v,
        id=read.id,
        tenant=read.tenant,
        thread=read.thread,
        n=read.n,
        at=read.at,
        actor=read.actor,
        by=read.by,
        command=read.command,
        reason=reason,
        reason_erased=sealed is not UNSET and not content,
        prev=read.prev,
        events=events,
    )


def _check_lines(lines: Sequence[bytes], events: int) -> None:
    # The last line is ended too, so the split leaves an empty rest.
    if len(lines) != events + 3 or lines[-1]:
        raise _unreadable(f"a commit of {events} events has {events + 2} lines, each ended, and this has others")


def _check_seal(content: bytes, expected: str | None, number: int) -> None:
    """Check the content of event ``number``; 0 is the command itself."""
    if expected is None:
        if content:
            raise Corrupt(f"{_named(number)} has a content, and its record no seal for it", code="unsealed_content")
    elif seal(content) != expected:
        raise _broken_seal(number)


def _broken_seal(number: int) -> Corrupt:
    return Corrupt(f"the content of {_named(number)} does not fit its seal: it was changed", code="broken_seal")


def _missing_content(number: int) -> Corrupt:
    return Corrupt(f"the content of {_named(number)} is gone from the log", code="missing_content")


def _named(number: int) -> str:
    return f"event {number}" if number else "the command"


def _erased(event: Callable[..., Event], record: Struct) -> Event:
    kept = {"of": event.__name__, **{name: value for name, value in asdict(record).items() if value is not UNSET}}
    return msgspec.convert(kept, ErasedItemEvent) if "item" in kept else msgspec.convert(kept, ErasedThreadEvent)


def _decode_upcast(lines: Sequence[bytes], upcasters: Mapping[str, Upcaster], fault: Exception) -> Commit:
    # The slow way, taken only where the straight one failed: bring retired tags up to date, then judge again.
    try:
        raw = msgspec.json.decode(lines[0], type=dict[str, object])
        if raw.get("v") != FORMAT:
            raise _future(raw.get("v"))
        stored = msgspec.convert(raw.get("events"), list[Json])
        _check_lines(lines, len(stored))
        current = [
            each
            for number, (one, content) in enumerate(zip(stored, lines[2:], strict=False), start=1)
            for each in upcast(_current(one, content, number), upcasters)
        ]
        events = tuple(_convert(each, fault) for each in current)
        read = msgspec.convert({**raw, "events": ()}, _Record)
        return _commit(read, read.seal, lines[1], events)
    except (*UNREADABLE, ValueError) as error:
        raise _unreadable(str(fault)) from error


def _current(record: Json, content: bytes, number: int) -> Current:
    sealed = record.get("seal")
    if content:
        _check_seal(content, str(sealed), number)
    return Current(
        record,
        str(sealed) if sealed is not None else None,
        msgspec.json.decode(content, type=dict[str, object]) if content else None,
    )


def _convert(one: Current, fault: Exception) -> Event:
    tag = one.record.get("type")
    if not isinstance(tag, str) or tag not in TAGS:
        raise Corrupt(
            f"unknown event {tag!r}: written by a newer Clew, or not by Clew", code="unknown_event"
        ) from fault
    layout = next(layout for event, layout in _LAYOUTS.items() if event.__name__ == tag)
    if layout.content is not None and one.content is None and one.seal is not None:
        return _erased(layout.event, msgspec.convert({**one.record, "seal": one.seal}, layout.record))
    flat: Any = msgspec.convert({**one.record, **(one.content or {})}, layout.event)
    return flat  # type: ignore[no-any-return]


def _unreadable(why: str) -> Corrupt:
    return Corrupt(f"not a commit: {why}", code="unreadable_commit")


def _future(version: object) -> Corrupt:
    return Corrupt(f"commit format {version!r} is not {FORMAT}: written by another Clew", code="unknown_format")
