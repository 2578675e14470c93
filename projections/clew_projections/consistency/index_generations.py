"""Comparison of two generations of the index, thread by thread, up to the position of both."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

from msgspec import Struct

from clew_events.subjects import Address, shard_of


class Head(Struct, frozen=True):
    """A thread's last commit in a generation: its number, sequence and hash."""

    n: int
    seq: int
    hash: str


class Difference(Struct, frozen=True):
    """A thread that differs between two generations although both have its commits."""

    address: Address
    fresh: Head | None
    live: Head | None


_COLUMNS: Final = "o.name, a.id, a.n, a.seq, a.hash, b.n, b.seq, b.hash"
_JOINED: Final = """
    FROM {one}.thread a JOIN {one}.tenant o ON o.no = a.tenant
    LEFT JOIN {two}.tenant p ON p.name = o.name LEFT JOIN {two}.thread b ON b.tenant = p.no AND b.id = a.id
"""
_CHANGED: Final = (
    f"SELECT {_COLUMNS} {_JOINED.format(one='main', two='live')} WHERE b.id IS NULL OR a.n <> b.n OR a.hash <> b.hash "
    "OR a.deleted <> b.deleted OR a.messages <> b.messages OR a.shown <> b.shown"
)
_ONLY_LIVE: Final = f"SELECT {_COLUMNS} {_JOINED.format(one='live', two='main')} WHERE b.id IS NULL"


def threads(file: Path) -> int:
    """Return the number of threads in a generation, deleted ones included."""
    with closing(sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)) as db:
        return int(db.execute("SELECT count(*) FROM thread").fetchone()[0])


def differences(fresh: Path, live: Path, shards: int) -> Iterator[Difference]:
    """Yield every difference between a new generation, which is not written, and the live one, which may be.

    Raises:
        sqlite3.Error: a file is unreadable.
    """
    with closing(sqlite3.connect(f"{fresh.as_uri()}?mode=ro", uri=True, isolation_level=None)) as db:
        db.execute("ATTACH ? AS live", (f"{live.as_uri()}?mode=ro",))
        db.execute("BEGIN")
        ours = dict(db.execute("SELECT shard, seq FROM main.mark"))
        theirs = dict(db.execute("SELECT shard, seq FROM live.mark"))
        for row in db.execute(_CHANGED):
            found = Difference(Address(row[0], row[1]), Head(*row[2:5]), Head(*row[5:]) if row[5] else None)
            if not _is_lag(found, ours, theirs, shards):
                yield found
        for row in db.execute(_ONLY_LIVE):
            found = Difference(Address(row[0], row[1]), None, Head(*row[2:5]))
            if not _is_lag(found, ours, theirs, shards):
                yield found


def _is_lag(found: Difference, ours: Mapping[int, int], theirs: Mapping[int, int], shards: int) -> bool:
    """Whether one generation only lags behind the other."""
    shard = shard_of(found.address.thread, shards)
    ahead = found.fresh is not None and found.fresh.seq > theirs.get(shard, 0)
    behind = found.live is not None and found.live.seq > ours.get(shard, 0)
    return ahead or behind
