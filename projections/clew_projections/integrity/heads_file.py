"""A file with the heads of all threads as of a sequence of each shard, and the Merkle trees over them.

A change of one thread costs the hashes on its path to the root, however many threads there are. The file is derived
from the log and may be deleted at any time; a file of another format is deleted.
"""

from __future__ import annotations

import contextlib
import os
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
STORED_DEPTH: Final = 14
"""Subtrees down to this depth are stored. Below it, at a million threads, some sixty leaves are hashed again."""
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
    """The position in a shard, the number of commits in chains, and of messages that continue no chain."""

    seq: int = 0
    commits: int = 0
    misfits: int = 0


def place_in(folder: Path, name: str) -> Path | None:
    """Where heads can be kept in a folder; ``None`` if it is not there, or not to be written in."""
    return folder / name if os.access(folder, os.W_OK) else None


class HeadsFile:
    """The file. One process uses it, one thread at a time.

    It is opened by whoever first uses it, so every method may raise ``sqlite3.Error``, as where the disk is full.
    """

    def __init__(self, file: Path | None = None) -> None:
        """Without a ``file``, everything is in memory, or in an unnamed temporary file once it is large."""
        self._file = file
        self._opened: sqlite3.Connection | None = None

    @property
    def _db(self) -> sqlite3.Connection:
        if self._opened is None:
            self._opened = _open(self._file)
        return self._opened

    def close(self) -> None:
        """Close the file."""
        opened, self._opened = self._opened, None
        if opened is not None:
            opened.close()

    def renew(self) -> None:
        """Delete an unusable file; the next use creates it again.

        Raises:
            OSError: it cannot be deleted.
        """
        self.close()
        if self._file is not None:
            _discard(self._file)

    def forget(self) -> None:
        """Delete all content."""
        with self._db:
            for table in ("head", "changed", "subtree", "reached", "signed"):
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608 - constant names

    def progress(self, shard: int) -> ShardProgress:
        """Return the progress in a shard."""
        row = self._db.execute("SELECT seq, commits, misfits FROM reached WHERE shard = ?", (shard,)).fetchone()
        return ShardProgress(*row) if row else ShardProgress()

    @property
    def signed(self) -> str | None:
        """The hash of the last checkpoint that is known to agree with these heads."""
        row = self._db.execute("SELECT hash FROM signed").fetchone()
        return str(row[0]) if row else None

    @signed.setter
    def signed(self, checkpoint: str) -> None:
        with self._db:
            self._db.execute("INSERT OR REPLACE INTO signed VALUES (1, ?)", (checkpoint,))

    def take(self, shard: int, page: Sequence[StoredMessage]) -> list[Address]:
        """Add the next messages of a shard, in order and without gaps, in one transaction.

        Returns the threads of the messages that continue no chain.
        """
        if not page:
            return []
        before, commits = self.progress(shard), 0
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

    def skip_to(self, shard: int, seq: int) -> None:
        """Record that a shard holds nothing more up to a sequence."""
        before = self.progress(shard)
        with self._db:
            row = (shard, max(seq, before.seq), before.commits, before.misfits)
            self._db.execute("INSERT OR REPLACE INTO reached VALUES (?, ?, ?, ?)", row)

    def root(self, shard: int) -> Subtree:
        """Return a shard's root and the number of its threads."""
        rows = self._db.execute("SELECT place FROM changed WHERE shard = ? ORDER BY place", (shard,))
        changed = [place for (place,) in rows]
        if not changed:
            return self._subtree(shard, 0, 0)
        with self._db:
            root = self._rehash(shard, 0, 0, changed)
            self._db.execute("DELETE FROM changed WHERE shard = ?", (shard,))
        return root

    def head(self, shard: int, address: Address) -> Head | None:
        """Return the end of a thread's chain; ``None`` if it has none."""
        tip = self._tip(shard, key_of(address))
        return Head(*address, tip.n, tip.hash) if tip.hash is not None else None

    def heads(self, shard: int) -> Iterator[Head]:
        """Yield every thread's head, in the order of the leaves."""
        query = "SELECT tenant, thread, n, hash FROM head WHERE shard = ? ORDER BY place"
        with closing(self._db.execute(query, (shard,))) as rows:
            for row in rows:
                yield Head(*row)

    def path(self, shard: int, address: Address) -> list[bytes]:
        """Return the path from a thread's leaf to the shard's root; the thread must have a head."""
        self.root(shard)
        place = key_of(address)
        depth = prefix = 0
        siblings: list[bytes] = []
        while depth < STORED_DEPTH and self._subtree(shard, depth, prefix).leaves > 1:
            right = bit(place, depth)
            depth, prefix = depth + 1, prefix * 2 + right
            siblings.append(self._subtree(shard, depth, prefix ^ 1).hash)
        return [*path(self._leaves(shard, depth, prefix), place, depth), *reversed(siblings)]

    def _tip(self, shard: int, place: bytes) -> Tip:
        row = self._db.execute("SELECT n, hash FROM head WHERE shard = ? AND place = ?", (shard, place)).fetchone()
        return Tip(*row) if row else NOTHING

    def _rehash(self, shard: int, depth: int, prefix: int, changed: Sequence[bytes]) -> Subtree:
        if not changed:
            return self._subtree(shard, depth, prefix)
        if depth == STORED_DEPTH:
            root = subtree(self._leaves(shard, depth, prefix), depth)
        else:
            middle = sum(1 for place in changed if not bit(place, depth))
            root = join(
                self._rehash(shard, depth + 1, prefix * 2, changed[:middle]),
                self._rehash(shard, depth + 1, prefix * 2 + 1, changed[middle:]),
            )
        if root.leaves > 1:
            row = (shard, depth, prefix, root.hash, root.leaves)
            self._db.execute("INSERT OR REPLACE INTO subtree VALUES (?, ?, ?, ?, ?)", row)
        return root

    def _subtree(self, shard: int, depth: int, prefix: int) -> Subtree:
        query = "SELECT hash, leaves FROM subtree WHERE shard = ? AND depth = ? AND prefix = ?"
        row = self._db.execute(query, (shard, depth, prefix)).fetchone()
        if row:
            return Subtree(*row)
        leaves = self._leaves(shard, depth, prefix)  # none or one: a subtree with more is stored
        return subtree(leaves, depth) if leaves else EMPTY

    def _leaves(self, shard: int, depth: int, prefix: int) -> list[Leaf]:
        first = (prefix << (256 - depth)).to_bytes(32, "big")
        last = (((prefix + 1) << (256 - depth)) - 1).to_bytes(32, "big")
        query = "SELECT place, n, hash FROM head WHERE shard = ? AND place BETWEEN ? AND ? ORDER BY place"
        return [(place, leaf_of(place, n, head)) for place, n, head in self._db.execute(query, (shard, first, last))]


def _open(file: Path | None) -> sqlite3.Connection:
    db = _connect(file)
    try:
        try:
            (version,) = db.execute("PRAGMA user_version").fetchone()
        except sqlite3.DatabaseError:
            version = -1  # not a database
        if version == FORMAT:
            return db
        if version != 0 and file is not None:
            db.close()
            _discard(file)
            db = _connect(file)
        db.executescript(f"BEGIN IMMEDIATE; {_TABLES} PRAGMA user_version = {FORMAT}; COMMIT;")
    except BaseException:
        db.close()
        raise
    return db


def _discard(file: Path) -> None:
    for each in (file, file.with_name(file.name + "-wal"), file.with_name(file.name + "-shm")):
        each.unlink(missing_ok=True)


def _connect(file: Path | None) -> sqlite3.Connection:
    # For an empty name SQLite makes a temporary file. Threads use the connection one at a time. With a write-ahead log,
    # a power cut may lose the last transactions, and leaves the file consistent.
    db = sqlite3.connect(file or "", check_same_thread=False)
    with contextlib.suppress(sqlite3.DatabaseError):  # not a database, as the next query finds
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = NORMAL")
    return db
