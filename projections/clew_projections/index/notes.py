"""The indexer's notes in an index file, and the check that the file follows from this log.

Places: for each shard, the position and the hash of the stored commit there. They tell whether a file follows from this
log, and not from another log or from one that was since restored from an older backup. Threads set aside: those whose
history cannot be folded. They are left out and reported, and retried whenever the indexer starts.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from msgspec import Struct

from clew_events.commit import record_hash
from clew_events.errors import Corrupt
from clew_events.subjects import Address, event_stream
from clew_projections.index.database import Unusable
from clew_projections.nats.jetstream import JetStream, stream_state

BUSY: int = 10_000
"""Milliseconds to wait for another connection to the same file."""

_TABLES = """
CREATE TABLE IF NOT EXISTS feeding_aside (
    tenant TEXT NOT NULL, thread TEXT NOT NULL, seq INTEGER NOT NULL, code TEXT NOT NULL, reason TEXT NOT NULL,
    since TEXT NOT NULL, PRIMARY KEY (tenant, thread)
) WITHOUT ROWID;
"""


class Place(Struct, frozen=True):
    """The position of an index in a shard, and the hash of the commit there, or '' if the end of the log was removed.

    The writer stores it among the marks, with what it applies.
    """

    shard: int
    seq: int
    hash: str


class ParkedThread(Struct, frozen=True, kw_only=True):
    """A thread that the index leaves out, because the commit at ``seq`` of its shard cannot be folded."""

    tenant: str
    thread: str
    seq: int
    code: str
    reason: str
    since: datetime

    @property
    def address(self) -> Address:
        """Which thread."""
        return Address(self.tenant, self.thread)


class Ledger:
    """The notes in one file; for one thread of execution."""

    def __init__(self, path: Path) -> None:
        """Open the notes of an existing file.

        Raises:
            sqlite3.Error: it is not a database, is damaged, or cannot be written.
        """
        self._db = sqlite3.connect(path, isolation_level=None)
        try:
            self._db.execute(f"PRAGMA busy_timeout = {BUSY}")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._db.executescript(_TABLES)
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def places(self) -> list[Place]:
        """The last commit taken of every shard that has any."""
        return _places(self._db)

    def aside(self) -> list[ParkedThread]:
        """The threads that are left out."""
        return _parked_threads(self._db)

    def set_aside(self, address: Address, seq: int, fault: Corrupt) -> None:
        """Note that a thread is left out."""
        row = (*address, seq, fault.code, fault.message, datetime.now(UTC).isoformat())
        self._db.execute("INSERT OR IGNORE INTO feeding_aside VALUES (?, ?, ?, ?, ?, ?)", row)

    def take_up(self, address: Address) -> None:
        """Note that a thread is no longer left out."""
        self._db.execute("DELETE FROM feeding_aside WHERE tenant = ? AND thread = ?", address)

    def sound(self) -> bool:
        """Whether SQLite finds nothing wrong with the file. Reads all of it."""
        try:
            return bool(self._db.execute("PRAGMA quick_check(1)").fetchone() == ("ok",))
        except sqlite3.DatabaseError:
            return False


class Notes(Struct, frozen=True):
    """What is noted in a file."""

    places: list[Place]
    aside: list[ParkedThread]


def notes(path: Path) -> Notes:
    """Read the notes of a file that another process writes; empty if it is unreadable."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
            db.execute(f"PRAGMA busy_timeout = {BUSY}")
            return Notes(_places(db), _parked_threads(db))
    except sqlite3.Error:
        return Notes([], [])


def _places(db: sqlite3.Connection) -> list[Place]:
    return [Place(*row) for row in db.execute("SELECT shard, seq, hash FROM mark ORDER BY shard")]


def _parked_threads(db: sqlite3.Connection) -> list[ParkedThread]:
    rows = db.execute("SELECT tenant, thread, seq, code, reason, since FROM feeding_aside ORDER BY tenant, thread")
    return [
        ParkedThread(
            tenant=tenant, thread=thread, seq=seq, code=code, reason=reason, since=datetime.fromisoformat(since)
        )
        for tenant, thread, seq, code, reason, since in rows
    ]


async def ends(js: JetStream, shards: int) -> dict[int, int]:
    """Read the last sequence of every shard from its leader.

    Raises:
        Unavailable: JetStream does not answer.
    """
    return {shard: (await stream_state(js, event_stream(shard))).last_seq for shard in range(shards)}


async def check_agrees(js: JetStream, shards: int, marks: Mapping[int, int], places: Sequence[Place]) -> None:
    """Check that a file with these marks and places follows from this log.

    The hash detects a log that was restored from a backup and has gone on since. A commit that is gone from the log, as
    by an erasure, is not checked.

    Raises:
        Unusable: it does not follow from this log; the message says why.
        Unavailable: JetStream does not answer.
    """
    for shard, mark in marks.items():
        if not 0 <= shard < shards:
            raise Unusable(f"it knows of a shard {shard}, and the log has {shards}")
        if mark > (end := (await stream_state(js, event_stream(shard))).last_seq):
            raise Unusable(
                f"it goes to sequence {mark} of shard {shard}, and the log ends at {end}: another log, or older"
            )
    for place in places:
        stored = await js.next_at_leader(event_stream(place.shard), place.seq)
        if stored is not None and stored.seq == place.seq and record_hash(stored.body) != place.hash:
            raise Unusable(f"the log has another commit at sequence {place.seq} of shard {place.shard}: another log")
