"""What the sources have in common: pieces of threads as files have them, and the threads that come of them. Pure.

A source is a module with two functions. ``split`` takes the JSON objects of a file and yields the pieces of threads in
them; it raises where the file is not what it should be. ``join`` takes all pieces of one thread and returns the thread,
with its branches behind it; it raises where that thread cannot be imported, and others can.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Final, Protocol, TypeVar

import msgspec
from msgspec import Raw, Struct

from clew_events import ids
from clew_events.codec import UNREADABLE
from clew_events.errors import Invalid
from clew_events.requests import MAX_KEY, MAX_PAIRS, MAX_VALUE

T = TypeVar("T")
NULL: Final = Raw(b"null")
encode: Final = msgspec.json.Encoder().encode
_FIELDS: Final = msgspec.json.Decoder(dict[str, Raw])
_TEXT: Final = msgspec.json.Decoder(str)
_LIST: Final = msgspec.json.Decoder(list[Raw])
_NUMBER: Final = msgspec.json.Decoder(float)
_LATEST: Final = datetime(9999, 1, 1, tzinfo=UTC).timestamp()


class SourceObject(Struct, frozen=True):
    """A JSON object of a file, and its place there, for people; ``fault`` is why it cannot be imported."""

    place: str
    body: Raw
    fault: str | None = None


class Part(Struct, frozen=True):
    """A piece of a thread as a file has it: the thread's id there, what it is, its place, and its JSON.

    ``fault`` is why it cannot be imported, and so the thread cannot.
    """

    thread: str
    kind: str
    place: str
    body: Raw
    fault: str | None = None


class SourceItem(Struct, frozen=True):
    """An item to add, its place in the file, and when it came to be, if that is known."""

    body: Raw
    place: str
    created_at: datetime | None = None


class Branch(Struct, frozen=True):
    """That a thread begins with the first ``items`` items of another, its ``parent``, which are not among its own."""

    parent: str
    items: int


class SourceThread(Struct, frozen=True, kw_only=True):
    """A thread to import from a ``source``: its id there and here, and its own items.

    ``notes`` say what of it is left out, in words that several threads can have in common.
    """

    source: str
    source_id: str
    id: str
    created_at: datetime | None
    metadata: dict[str, str]
    items: tuple[SourceItem, ...]
    branch: Branch | None = None
    notes: tuple[str, ...] = ()


class Source(Protocol):
    """A kind of files that threads come in."""

    @property
    def name(self) -> str:
        """The name that provenance tells."""

    def split(self, objects: Iterable[SourceObject]) -> Iterator[Part]:
        """Yield the pieces of threads in the objects of a file.

        Raises:
            Invalid: an object is none of this source.
        """

    def join(self, thread: str, parts: Sequence[Part]) -> Sequence[SourceThread]:
        """Return the thread that some pieces are of, and its branches, each behind its parent.

        Raises:
            Invalid: it cannot be imported; the message names the place.
        """


def unusable(place: str, why: str) -> Invalid:
    """The error for something in a file that cannot be imported."""
    return Invalid(f"{place}: {why}", code="unusable_source")


class SourceFields(dict[str, Raw]):
    """An object of a file: its keys, each with the text of its value, and its place there, which errors name.

    All that reads a value raises ``Invalid`` if it is not what it should be.
    """

    def __init__(self, place: str, values: dict[str, Raw]) -> None:
        super().__init__(values)
        self.place = place

    def read_list(self, name: str) -> list[Raw]:
        """Read a list under a key; empty if it is missing or null."""
        raw = self.get(name, NULL)
        return [] if raw == NULL else _read(_LIST, raw, f"{self.place}, '{name}'", "a list")

    def read_text(self, name: str) -> str | None:
        """Read a string under a key; ``None`` if it is missing or null."""
        raw = self.get(name, NULL)
        return None if raw == NULL else read_string(raw, f"{self.place}, '{name}'")

    def need_text(self, name: str) -> str:
        """Read a string that must be there."""
        text = self.read_text(name)
        if text is None:
            raise unusable(self.place, f"it has no '{name}'")
        return text

    def read_nested(self, name: str) -> SourceFields:
        """Read an object under a key, whose place is that of this one; empty if it is missing or null."""
        raw = self.get(name, NULL)
        nested = {} if raw == NULL else _read(_FIELDS, raw, f"{self.place}, '{name}'", "an object")
        return SourceFields(self.place, nested)

    def read_time(self, name: str) -> datetime | None:
        """Read a time under a key, in Unix seconds or ISO 8601 with its offset; ``None`` if it is missing or null."""
        raw, place = self.get(name, NULL), f"{self.place}, '{name}'"
        if raw == NULL:
            return None
        if is_text(raw):
            text = read_string(raw, place)
            try:
                at = datetime.fromisoformat(text)
            except ValueError:
                at = None
            if at is None or at.tzinfo is None:
                raise unusable(place, f"{text[:64]!r} is no time in ISO 8601 with its offset")
            return at.astimezone(UTC)
        seconds = _read(_NUMBER, raw, place, "a time in Unix seconds")
        if not math.isfinite(seconds) or not 0 <= seconds < _LATEST:
            raise unusable(place, f"{bytes(raw).decode()[:32]} is no time in Unix seconds")
        return datetime.fromtimestamp(seconds, UTC)


def read_object(body: Raw, place: str) -> SourceFields:
    """Read an object at a place.

    Raises:
        Invalid: it is none.
    """
    return SourceFields(place, _read(_FIELDS, body, place, "an object"))


def read_string(raw: Raw, place: str) -> str:
    """Read a string at a place.

    Raises:
        Invalid: it is none, or has half of a surrogate pair.
    """
    return _read(_TEXT, raw, place, "a string")


def is_text(raw: Raw) -> bool:
    """Whether a value is a string."""
    return bytes(memoryview(raw)[:1]) == b'"'


def _read(decoder: msgspec.json.Decoder[T], raw: Raw, place: str, what: str) -> T:
    try:
        return decoder.decode(raw)
    except UNREADABLE as fault:
        raise unusable(place, f"expected {what}: {fault}") from None


def keep_metadata(pairs: Iterable[tuple[str, str]]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Return the pairs that the metadata of a thread can hold, and notes of those that are left out."""
    metadata: dict[str, str] = {}
    left_out: list[str] = []
    for key, value in pairs:
        if not key or len(key) > MAX_KEY or len(value) > MAX_VALUE or len(metadata) == MAX_PAIRS:
            left_out.append(f"metadata '{key[:MAX_KEY]}' is left out: too long, or more than {MAX_PAIRS} pairs")
        else:
            metadata[key] = value
    return metadata, tuple(left_out)


def conversation_id(source: str, thread: str) -> str:
    """Return the id here of a conversation of a source, which follows from its id there."""
    return ids.thread_id("import", source, thread, conversation=True)
