"""A marker text, looked for in every file below a folder, in every form in which it may have been stored."""

from __future__ import annotations

import base64
import contextlib
import json
import secrets
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import zstandard

from support import s2

FRAME = zstandard.FRAME_HEADER
"""How a compressed snapshot begins."""
UNPACKED = 64 * 1024 * 1024
TOLD_APART = 6
"""Characters after which no other word is like a marker."""


def new_marker() -> str:
    """A word that occurs nowhere else: of small letters and digits, so that the index keeps it as it is."""
    return f"mk{secrets.token_hex(12)}"


def find_marker(folder: Path, marker: str) -> list[str]:
    """The files below a folder that hold a marker, each with the form in which it is there.

    It is found as text in any case and without its beginning, which the full-text index leaves out where the word
    before begins alike; as JSON; as base64; in the tables of SQLite files, which may break a text over pages; and in
    what is compressed by Zstandard, as snapshots of the index are, or by S2, as the files of backups are. Blocks of
    streams are not unpacked: none of Clew's are compressed.
    """
    return sorted(
        f"{file.relative_to(folder)}: {form}"
        for file in folder.rglob("*")
        if file.is_file()
        for form in set(_forms(file, marker))
    )


def _forms(file: Path, marker: str) -> Iterator[str]:
    with contextlib.suppress(FileNotFoundError):  # it was removed meanwhile
        data = file.read_bytes()
        yield from _in_bytes(data, marker)
        start = data.find(FRAME)
        while start >= 0:
            with contextlib.suppress(zstandard.ZstdError):
                unpacked = zstandard.ZstdDecompressor().decompressobj().decompress(data[start : start + UNPACKED])
                yield from (f"{form}, compressed" for form in _in_bytes(unpacked, marker))
            start = data.find(FRAME, start + 1)
        if data.startswith(s2.MAGIC):
            yield from (f"{form}, compressed" for form in _in_bytes(s2.unpack(data), marker))
        if data.startswith(b"SQLite format 3\x00"):
            yield from _in_tables(file, marker)


def _in_bytes(data: bytes, marker: str) -> Iterator[str]:
    text, lowered = marker[TOLD_APART:], data.lower()
    if text.lower().encode() in lowered:
        yield "text"
    if (escaped := json.dumps(text)[1:-1]) != text and escaped.lower().encode() in lowered:
        yield "JSON"
    if any(piece in data for piece in _in_base64(marker.encode())):
        yield "base64"


def _in_base64(raw: bytes) -> Iterator[bytes]:
    """What is the same of a text in base64 whatever stands around it, for the three places where it may begin."""
    for before in range(3):
        for encode in (base64.b64encode, base64.urlsafe_b64encode):
            whole = encode(bytes(before) + raw)
            yield whole[(before * 4 + 2) // 3 : len(whole) // 4 * 4 - 4]


def _in_tables(file: Path, marker: str) -> Iterator[str]:
    text = marker[TOLD_APART:].lower()
    with contextlib.suppress(sqlite3.Error), closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as db:
        tables = [
            name for (name,) in db.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND rootpage > 0")
        ]
        for table in tables:
            for row in db.execute(f'SELECT * FROM "{table}"'):
                for value in row:
                    stored = value.decode(errors="replace") if isinstance(value, bytes) else str(value)
                    if text in stored.lower():
                        yield f"table {table}"
