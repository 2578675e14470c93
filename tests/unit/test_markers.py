"""A marker is found in every form in which it may lie in a file: else the tests of erasures would prove nothing."""

from __future__ import annotations

import base64
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import zstandard

from support.markers import find_marker, new_marker

MARKER = "mk5f0c2a917be83d4461af09c7"
AROUND = b"\x00\x01 something \xff"
CUT = [MARKER[:15].encode(), MARKER.encode()]
"""Together they are compressed, so that the marker is not there as it is."""


@pytest.mark.parametrize(
    ("data", "form"),
    [
        (MARKER.encode(), "text"),
        (MARKER.upper().encode(), "text"),
        (MARKER[5:].encode(), "text"),
        (zstandard.compress(b" ".join([*CUT, *CUT])), "text, compressed"),
        *((base64.b64encode(bytes(n) + MARKER.encode() + bytes(m)), "base64") for n in range(3) for m in range(3)),
    ],
)
def test_it_is_found_among_other_bytes_below_the_folder(tmp_path: Path, data: bytes, form: str) -> None:
    (tmp_path / "deep" / "below").mkdir(parents=True)
    (tmp_path / "deep" / "below" / "file").write_bytes(AROUND + data + AROUND)
    assert find_marker(tmp_path, MARKER) == [f"deep/below/file: {form}"]
    assert find_marker(tmp_path, new_marker()) == []


def test_it_is_found_as_json(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(rb'{"text":"\u00fcber \"mk\" more \u00fcber"}')
    assert find_marker(tmp_path, 'xxxxxx\N{LATIN SMALL LETTER U WITH DIAERESIS}ber "mk"') == ["file: JSON"]


def test_it_is_found_in_a_table_though_it_lies_on_two_pages(tmp_path: Path) -> None:
    for length in range(400, 4700, 12):
        file = tmp_path / f"{length}.db"
        with closing(sqlite3.connect(file, isolation_level=None)) as db:
            db.execute("CREATE TABLE texts (text)")
            db.execute("INSERT INTO texts VALUES (?)", ("x" * length + MARKER + "x" * (13_000 - length),))
        if MARKER[6:].encode() not in file.read_bytes():
            assert find_marker(tmp_path, MARKER) == [f"{length}.db: table texts"]
            return
        file.unlink()
    raise AssertionError("it was never broken over two pages")
