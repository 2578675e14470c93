"""Heads kept in a small file: the log's, as of a sequence of each shard, with the trees over them.

A change of one thread costs the hashes on its way to the root, however many threads there are. The file follows from
the log and can be thrown away at any time; a file of another format is.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from msgspec import Struct

from clew_events.subjects import Address, address_of
from clew_projections.integrity.inclusion import Head, key_of, leaf_of
from clew_projections.integrity.links import NOTHING, Tip, follow
from clew_projections.integrity.merkle import EMPTY, Leaf, Subtree, bit, join, path, subtree
from clew_projections.nats.stream_messages import StoredMessage

FORMAT: Final = 1
REMEMBERED: Final = 14
"""Down to this depth subtrees are kept. Below it, at a million threads, are some sixty leaves, hashed anew."""
_TABLES: Final = """
CREATE TABLE IF NOT EXISTS head (shard INTEGER, place BLOB, tenant TEXT, thread TEXT, n INTEGER, hash TEXT,
    PRIMARY KEY (shard, place)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS changed (shard INTEGER, place BLOB, PRIMARY KEY (shard, place)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS subtree (shard INTEGER, depth INTEGER, prefix INTEGER, hash BLOB, leaves INTEGER,
    PRIMARY KEY (shard, depth, prefix)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS reached (shard INTEGER PRIMARY KEY, seq INTEGER, commits INTEGER, misfits INTEGER);
CREATE TABLE IF NOT EXISTS signed (only INTEGER PRIMARY KEY CHECK (only = 1), hash TEXT);
"""


class ShardProgress(Struct, frozen=True):
    """How far a shard is kept: up to a sequence, with so many commits in chains, and messages that continue none."""

    seq: int = 0
    commits: int = 0
    misfits: int = 0


class HeadsFile:
    """The file. One process uses it, one thread at a time."""

    def __init__(self, file: Path | None = None) -> None:
        """Without a ``file``, everything is in memory, or in a file without a name once it is large."""
        self._file = file
        self._db = _open(file)

    def close(self) -> None:
        """Let the file go."""
        self._db.close()

    def renew(self) -> None:
        """Throw the file away and begin a new one, because it cannot be used."""
        self._db.close()
        if self._file is not None:
            _discard(self._file)
        self._db = _open(self._file)

    def forget(self) -> None:
        """Begin anew."""
        with self._db:
            for table in ("head", "changed", "subtree", "reached", "signed"):
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608 - the names are ours

    def reached(self, shard: int) -> ShardProgress:
        """How far a shard is kept."""
        found = self._db.execute("SELECT seq, commits, misfits FROM reached WHERE shard = ?", (shard,)).fetchone()
        return ShardProgress(*found) if found else ShardProgress()

    @property
    def signed(self) -> str | None:
        """The hash of the last checkpoint that is known to agree with what is kept."""
        found = self._db.execute("SELECT hash FROM signed").fetchone()
        return str(found[0]) if found else None

    @signed.setter
    def signed(self, checkpoint: str) -> None:
        with self._db:
            self._db.execute("INSERT OR REPLACE INTO signed VALUES (1, ?)", (checkpoint,))

    def take(self, shard: int, page: Sequence[StoredMessage]) -> list[Address]:
        """The next messages of a shard, in its order, all of it: together or not at all.

        The threads of those that continue no chain are given back.
        """
        if not page:
            return []
        before, commits = self.reached(shard), 0
        misfits: list[Address] = []
        moved: dict[bytes, tuple[Address, Tip]] = {}
        for stored in page:
            owner = address_of(stored.subject)
            place = key_of(owner)
            tip = moved[place][1] if place in moved else self._tip(shard, place)
            followed = follow(tip, owner, stored.body)
            if followed is not None:
                moved[place] = (owner, followed)
                commits += 1
            else:
                misfits.append(owner)
        rows = ((shard, place, *owner, tip.n, tip.hash) for place, (owner, tip) in moved.items())
        with self._db:
            self._db.executemany("INSERT OR REPLACE INTO head VALUES (?, ?, ?, ?, ?, ?)", rows)
            self._db.executemany("INSERT OR IGNORE INTO changed VALUES (?, ?)", ((shard, place) for place in moved))
            self._db.execute(
                "INSERT OR REPLACE INTO reached VALUES (?, ?, ?, ?)",
                (shard, page[-1].seq, before.commits + commits, before.misfits + len(misfits)),
            )
        return misfits

    def pass_over(self, shard: int, seq: int) -> None:
        """Say that a shard holds nothing more up to a sequence."""
        before = self.reached(shard)
        with self._db:
            row = (shard, max(seq, before.seq), before.commits, before.misfits)
            self._db.execute("INSERT OR REPLACE INTO reached VALUES (?, ?, ?, ?)", row)

    def root(self, shard: int) -> Subtree:
        """A shard's root, and the number of its threads."""
        found = self._db.execute("SELECT place FROM changed WHERE shard = ? ORDER BY place", (shard,))
        changed = [place for (place,) in found]
        if not changed:
            return self._subtree(shard, 0, 0)
        with self._db:
            root = self._reopen(shard, 0, 0, changed)
            self._db.execute("DELETE FROM changed WHERE shard = ?", (shard,))
        return root

    def head(self, shard: int, address: Address) -> Head | None:
        """The end of a thread's chain."""
        tip = self._tip(shard, key_of(address))
        return Head(*address, tip.n, tip.hash) if tip.hash is not None else None

    def heads(self, shard: int) -> Iterator[Head]:
        """Every thread's, in the order of their places."""
        asked = "SELECT tenant, thread, n, hash FROM head WHERE shard = ? ORDER BY place"
        with closing(self._db.execute(asked, (shard,))) as found:
            for row in found:
                yield Head(*row)

    def path(self, shard: int, address: Address) -> list[bytes]:
        """The way from a thread's leaf to the shard's root; the thread must have a head."""
        self.root(shard)
        place = key_of(address)
        depth = prefix = 0
        beside: list[bytes] = []
        while depth < REMEMBERED and self._subtree(shard, depth, prefix).leaves > 1:
            right = bit(place, depth)
            depth, prefix = depth + 1, prefix * 2 + right
            beside.append(self._subtree(shard, depth, prefix ^ 1).hash)
        return [*path(self._leaves(shard, depth, prefix), place, depth), *reversed(beside)]

    def _tip(self, shard: int, place: bytes) -> Tip:
        found = self._db.execute("SELECT n, hash FROM head WHERE shard = ? AND place = ?", (shard, place)).fetchone()
        return Tip(*found) if found else NOTHING

    def _reopen(self, shard: int, depth: int, prefix: int, changed: Sequence[bytes]) -> Subtree:
        if not changed:
            return self._subtree(shard, depth, prefix)
        if depth == REMEMBERED:
            renewed = subtree(self._leaves(shard, depth, prefix), depth)
        else:
            middle = sum(1 for place in changed if not bit(place, depth))
            renewed = join(
                self._reopen(shard, depth + 1, prefix * 2, changed[:middle]),
                self._reopen(shard, depth + 1, prefix * 2 + 1, changed[middle:]),
            )
        if renewed.leaves > 1:
            row = (shard, depth, prefix, renewed.hash, renewed.leaves)
            self._db.execute("INSERT OR REPLACE INTO subtree VALUES (?, ?, ?, ?, ?)", row)
        return renewed

    def _subtree(self, shard: int, depth: int, prefix: int) -> Subtree:
        asked = "SELECT hash, leaves FROM subtree WHERE shard = ? AND depth = ? AND prefix = ?"
        found = self._db.execute(asked, (shard, depth, prefix)).fetchone()
        if found:
            return Subtree(*found)
        alone = self._leaves(shard, depth, prefix)  # none or one: more of them would have been remembered
        return subtree(alone, depth) if alone else EMPTY

    def _leaves(self, shard: int, depth: int, prefix: int) -> list[Leaf]:
        first = (prefix << (256 - depth)).to_bytes(32, "big")
        last = (((prefix + 1) << (256 - depth)) - 1).to_bytes(32, "big")
        asked = "SELECT place, n, hash FROM head WHERE shard = ? AND place BETWEEN ? AND ? ORDER BY place"
        return [(place, leaf_of(place, n, head)) for place, n, head in self._db.execute(asked, (shard, first, last))]


def _open(file: Path | None) -> sqlite3.Connection:
    db = _connect(file)
    try:
        (version,) = db.execute("PRAGMA user_version").fetchone()
    except sqlite3.DatabaseError:
        version = -1  # what is there is no database
    if version == FORMAT:
        return db
    if version != 0 and file is not None:
        db.close()
        _discard(file)
        db = _connect(file)
    db.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {FORMAT}; COMMIT;")
    return db


def _discard(file: Path) -> None:
    for each in (file, file.with_name(file.name + "-wal"), file.with_name(file.name + "-shm")):
        each.unlink(missing_ok=True)


def _connect(file: Path | None) -> sqlite3.Connection:
    # An empty name is SQLite's own for a file of which nothing stays. Whoever uses it does so in one thread after the
    # other. With a write-ahead log, a power cut may take the last pages that were read, and leaves the rest consistent.
    db = sqlite3.connect(file or "", check_same_thread=False)
    with contextlib.suppress(sqlite3.DatabaseError):  # what is there may be no database, as the next question finds
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
    return db
