"""Files that threads come in: their JSON objects one after another, in little memory, and their SHA-256.

A file has objects one after another, as a line each, or arrays of objects; or it is a zip archive with such a file.
What it unpacks to, and an object, may be so large and no larger.
"""

from __future__ import annotations

import codecs
import hashlib
import json
import re
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Final

from msgspec import Raw

from clew_events.errors import TooLarge
from clew_services.imports.source_thread import SourceObject, unusable

CHUNK: Final = 1024 * 1024
LARGEST_OBJECT: Final = 64 * 1024 * 1024
"""Characters of an object."""
MOST_UNPACKED: Final = 64 * 1024**3
"""Bytes that an archive may unpack to."""
TIGHTEST: Final = 200
"""How many times as large as in the archive its file may be: JSON of conversations is some ten times."""
_MEMBER: Final = re.compile(r"(.*/)?conversations(-\d+)?\.json")
_SOLID: Final = re.compile(r"[^ \t\r\n]")
_BROKEN_ARCHIVE: Final = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError)


def hash_file(file: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


@contextmanager
def read_objects(file: Path) -> Iterator[Iterator[SourceObject]]:
    """The objects of a file in their order, each with its place, while the block lasts.

    Raises:
        Invalid: it is not JSON in UTF-8, not whole, or has anything but objects; or an object has a key twice.
        TooLarge: an object is larger than :data:`LARGEST_OBJECT`, or an archive unpacks to too much.
        OSError: it cannot be read.
    """
    with ExitStack() as stack:
        yield _read(file, stack)


def _read(file: Path, stack: ExitStack) -> Iterator[SourceObject]:
    opened = stack.enter_context(file.open("rb"))
    if opened.read(2) != b"PK":
        opened.seek(0)
        yield from _Objects(str(file), opened)
        return
    try:
        archive = stack.enter_context(zipfile.ZipFile(opened))
        members = [each for each in archive.infolist() if _MEMBER.fullmatch(each.filename)]
        if not members:
            raise unusable(str(file), "the archive has no 'conversations.json': unpack it, and name the files in it")
        _check_size(file, members)
        for member in members:
            yield from _Objects(f"{file}, {member.filename}", stack.enter_context(archive.open(member)))
    except _BROKEN_ARCHIVE as fault:
        raise unusable(str(file), f"the archive cannot be unpacked: {fault}") from fault


def _check_size(file: Path, members: list[zipfile.ZipInfo]) -> None:
    """Check by what the archive says of itself: more than that is never unpacked."""
    unpacked, packed = sum(each.file_size for each in members), sum(each.compress_size for each in members)
    if unpacked > MOST_UNPACKED or (unpacked > LARGEST_OBJECT and unpacked > TIGHTEST * packed):
        raise TooLarge(
            f"{file}: the archive would unpack from {packed} bytes to {unpacked}, and may to at most {MOST_UNPACKED}, "
            f"and {TIGHTEST} times its size. If it is what it should be, unpack it, and name the files in it"
        )


class _DuplicateKey(ValueError):
    """An object has a key twice, so that parsers may read it differently."""


def _unique(pairs: list[tuple[str, object]]) -> None:
    keys = [key for key, _ in pairs]
    if len(set(keys)) < len(keys):
        raise _DuplicateKey(next(key for place, key in enumerate(keys) if key in keys[:place]))


# Nothing is kept of what is decoded here but where it ends, so numbers stay text.
_DECODE: Final = json.JSONDecoder(
    object_pairs_hook=_unique, parse_int=len, parse_float=len, parse_constant=len
).raw_decode


_ENDS: Final = "the file ends before its array does: it is not whole"
_NEAR: Final = 16
"""Characters before the end of what was read within which an error may be due to what was not read yet."""


class _Objects:
    """The objects of an open file."""

    def __init__(self, name: str, file: IO[bytes]) -> None:
        self._name = name
        self._file = file
        self._text = ""
        self._at = 0
        self._ended = False
        self._bytes = 0
        self._lines = 1
        self._decode = codecs.getincrementaldecoder("utf-8-sig")().decode

    def __iter__(self) -> Iterator[SourceObject]:
        if not self._peek():
            raise unusable(self._name, "it is empty")
        arrays = 0
        while begin := self._peek():
            if begin != "[":
                yield self._next(f"{self._name}, line {self._lines}")
                continue
            arrays += 1
            which = f"{self._name}, array {arrays}" if arrays > 1 else self._name
            number = 0
            while self._step(which, number):
                number += 1
                yield self._next(f"{which}, object {number}")

    def _step(self, which: str, number: int) -> bool:
        """Step over what is before the next object of an array, or behind the last; whether there is one more."""
        mark = self._peek()
        if not mark:
            raise unusable(which, _ENDS)
        if mark not in ("[" if number == 0 else ",]"):
            raise unusable(f"{which}, behind object {number}", f"expected ',' or ']', found {mark!r}")
        self._at += 1
        if number == 0 and self._peek() == "]":
            self._at += 1
            return False
        return mark != "]"

    def _next(self, place: str) -> SourceObject:
        begin = self._peek()
        if begin != "{":
            raise unusable(place, f"expected an object, found {begin!r}" if begin else _ENDS)
        return self._object(place)

    def _peek(self) -> str:
        """The next character that is not white space; an empty text at the end."""
        while True:
            found = _SOLID.search(self._text, self._at)
            end = found.start() if found is not None else len(self._text)
            self._lines += self._text.count("\n", self._at, end)
            self._at = end
            if found is not None or not self._more():
                return self._text[self._at : self._at + 1]

    def _more(self, size: int = 0) -> bool:
        """Read on; whether there was more."""
        if self._ended:
            return False
        chunk = self._file.read(size or CHUNK)
        self._ended = not chunk
        try:
            self._text = self._text[self._at :] + self._decode(chunk, self._ended)
        except UnicodeDecodeError as fault:
            raise unusable(self._name, f"it is not UTF-8 near byte {self._bytes + fault.start}") from None
        self._bytes += len(chunk)
        self._at = 0
        return not self._ended

    def _object(self, place: str) -> SourceObject:
        while True:
            try:
                _, end = _DECODE(self._text, self._at)
            except _DuplicateKey as twice:
                raise unusable(place, f"the key {str(twice)[:64]!r} is there twice") from None
            except RecursionError:
                raise unusable(place, "it is nested too deeply") from None
            except json.JSONDecodeError as fault:
                there, bad = len(self._text) - self._at, fault.pos - self._at
                cut_off = bad >= there - _NEAR or fault.msg.startswith("Unterminated")
                if cut_off and there > LARGEST_OBJECT:
                    raise _too_large(place) from None
                # Read as much again as there is, so that all of it is decoded twice at most.
                if cut_off and self._more(max(CHUNK, there)):
                    continue
                if cut_off:
                    raise unusable(place, "the file ends in the middle of it: it is not whole") from None
                line = self._lines + self._text.count("\n", self._at, self._at + bad)
                raise unusable(place, f"it is not JSON: {fault.msg}, in line {line}") from None
            if end - self._at > LARGEST_OBJECT:
                raise _too_large(place)
            text = self._text[self._at : end]
            self._lines += text.count("\n")
            self._at = end
            return _placed(place, text)


def _too_large(place: str) -> TooLarge:
    return TooLarge(f"{place}: the object has more than {LARGEST_OBJECT} characters")


_ESCAPES: Final = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<half>\\u[dD][89a-fA-F][0-9a-fA-F]{2})|\\."
)


def _placed(place: str, text: str) -> SourceObject:
    """An object with its place. One with half of a surrogate pair, which is no text, cannot be imported."""
    half = next((found for found in _ESCAPES.finditer(text) if found["half"]), None) if "\\u" in text else None
    if half is None:
        return SourceObject(place, Raw(text.encode()))
    around = text[max(0, half.start() - 30) : half.end()]
    whole = _ESCAPES.sub(lambda found: "\\ufffd" if found["half"] else found[0], text)
    return SourceObject(
        place, Raw(whole.encode()), f"half of a surrogate pair, which is no text, at the end of {around!r}"
    )
