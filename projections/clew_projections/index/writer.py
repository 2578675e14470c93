"""The writer of the index: each batch of commits in one transaction, together with the positions."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from operator import attrgetter
from typing import Final, NamedTuple, assert_never

import msgspec

from clew_events.commit import Recorded
from clew_events.content import Metadata
from clew_events.errors import Corrupt, Unavailable
from clew_events.events import (
    ErasedItemEvent,
    ErasedThreadEvent,
    ErasureCompleted,
    ErasureRequested,
    ExpiryUpdated,
    HoldPlaced,
    HoldReleased,
    ItemAdded,
    ItemDeleted,
    ItemMetadataUpdated,
    ItemReplaced,
    ItemsCleared,
    MetadataUpdated,
    TenantEvent,
    ThreadCreated,
    ThreadDeleted,
    ThreadRestored,
    ToolResourcesUpdated,
    ordinal_of,
)
from clew_events.subjects import Address
from clew_projections.apply import advance, restores_thread
from clew_projections.index import rows
from clew_projections.index.fts import Texts, slot
from clew_projections.index.rows import Row, micros
from clew_projections.index.terms import CREATED_BY, UPDATED_BY, Pair, Terms
from clew_projections.views import ThreadView, absent

_FIND: Final = f"SELECT {rows.COLUMNS} FROM thread WHERE tenant = ? AND id IN (SELECT value FROM json_each(?))"
_STATUS: Final = "SELECT t.deleted, t.n FROM thread t JOIN tenant o ON o.no = t.tenant WHERE o.name = ? AND t.id = ?"
_NEXT: Final = "SELECT coalesce(max(no), 0) + 1 FROM thread"
_PUT: Final = f"INSERT INTO thread VALUES ({', '.join('?' * len(Row._fields))})"
_CHANGED: Final = tuple(name for name in Row._fields if name not in rows.CONSTANT)
_CHANGE: Final = f"UPDATE thread SET {', '.join(f'{name} = ?' for name in _CHANGED)} WHERE no = ?"
_changed_values: Final = attrgetter(*_CHANGED, "no")
_PUT_PAIR: Final = "INSERT OR REPLACE INTO pair VALUES (?, ?, ?, ?, ?)"
_MOVE_PAIRS: Final = "UPDATE pair SET updated = ? WHERE thread = ?"
_DELETE_PAIR: Final = "DELETE FROM pair WHERE thread = ? AND key = ?"
_ORDER: Final = (_PUT, _CHANGE, _DELETE_PAIR, _MOVE_PAIRS, _PUT_PAIR)
"""The statements of a transaction about threads and their pairs, in the order in which they run, each once for all."""
_ENCODE: Final = msgspec.json.Encoder().encode


class ErasureMark(NamedTuple):
    """The sequence of the ``newest`` erasure in an index, and of that up to which no bytes are left in the file."""

    newest: int
    clean: int


class NotLive(Exception):
    """Another generation of the index is live, so this one may not be written, or not be replaced."""


class IndexWriter:
    """The only writer of a file, for one thread at a time."""

    def __init__(self, connection: sqlite3.Connection, may_write: Callable[[], bool] = lambda: True) -> None:
        """``may_write`` is asked in each transaction; if it is false, the transaction raises ``NotLive``."""
        self._connection = connection
        self._may_write = may_write
        self._terms = Terms(connection)
        self._texts = Texts(connection)
        self._waiting: dict[str, list[tuple[object, ...]]] = {statement: [] for statement in _ORDER}
        self._next: int | None = None

    def marks(self) -> dict[int, int]:
        """Return, by shard, the sequence up to which everything is in the index; shards not begun are left out."""
        return dict(self._connection.execute("SELECT shard, seq FROM mark"))

    def erasures(self) -> dict[int, ErasureMark]:
        """Return, by shard, how far this file is with erasures; shards without any are left out."""
        found = self._connection.execute("SELECT shard, erased, clean FROM mark WHERE erased > 0")
        return {shard: ErasureMark(newest, clean) for shard, newest, clean in found}

    def find_restored(self, commits: Sequence[Recorded]) -> list[Address]:
        """Return the threads that are deleted in the index and that commits restore.

        The row of a deleted thread has no content, so :meth:`apply` takes such a thread's whole history.
        """
        found: dict[Address, None] = {}
        for commit in (each.commit for each in commits if restores_thread(each.commit)):
            address = Address(commit.tenant, commit.thread)
            deleted, n = self._connection.execute(_STATUS, address).fetchone() or (0, 0)
            if deleted and commit.n > n:
                found[address] = None
        return list(found)

    def apply(
        self,
        commits: Sequence[Recorded],
        marks: Mapping[int, int],
        erased: Mapping[int, int] | None = None,
        hashes: Mapping[int, str] | None = None,
    ) -> None:
        """Apply commits, each thread's in order, and the new marks, in one transaction.

        Commits that the index contains already change nothing. Of a thread that :meth:`find_restored` returns they are
        its history from the first commit on. ``erased`` has by shard the sequence of the newest commit that requests an
        erasure, and ``hashes`` the hash of the commit at its mark.

        Raises:
            Corrupt: a commit does not continue its thread; or the file is damaged (``unreadable_index``).
            Unavailable: the file cannot be written, as when the disk is full. The call may be retried.
        """
        tenants: dict[str, dict[str, list[Recorded]]] = {}
        for each in commits:
            tenants.setdefault(each.commit.tenant, {}).setdefault(each.commit.thread, []).append(each)
        with self._transaction():
            for tenant, threads in tenants.items():
                known = self._find(tenant, threads)
                for thread, new in threads.items():
                    self._continue(tenant, thread, known.get(thread), new)
            self._mark(marks, erased or {}, hashes or {})
            if commits:
                newest = micros(max(each.commit.at for each in commits))
                self._connection.execute("UPDATE newest SET at = max(coalesce(at, ?), ?)", (newest, newest))

    def leave_out(self, tenant: str, thread: str) -> None:
        """Remove a thread completely; applying its commits from the first on adds it again.

        Raises:
            Unavailable: the file cannot be written.
        """
        with self._transaction():
            for row in self._find(tenant, [thread]).values():
                self._relate(row, rows.view_of(row, tenant), row._replace(deleted=1), absent(tenant, thread))
                self._texts.remove(row.tenant, row.no)
                self._connection.execute("DELETE FROM thread WHERE no = ?", (row.no,))

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All that the block does to the file, its terms and texts, or nothing of it."""
        try:
            self._connection.execute("BEGIN IMMEDIATE")
            self._check_live()
            yield
            for statement, values in self._waiting.items():
                if values:
                    self._connection.executemany(statement, values)
                    values.clear()
            self._texts.write()
            self._terms.write()
            self._connection.execute("COMMIT")
        except BaseException as fault:
            self._undo()
            if isinstance(fault, sqlite3.OperationalError):
                raise Unavailable(f"the index cannot be written: {fault}", code="index_unavailable") from fault
            if isinstance(fault, sqlite3.DatabaseError):
                raise Corrupt(f"the index is damaged: {fault}", code="unreadable_index") from fault
            raise

    def _check_live(self) -> None:
        if not self._may_write():
            raise NotLive

    def _find(self, tenant: str, threads: Iterable[str]) -> dict[str, Row]:
        """Return the rows of a tenant's threads by their ids; threads without any are left out."""
        found = self._connection.execute(_FIND, (self._terms.tenant(tenant), _ENCODE(list(threads)).decode()))
        return {row.id: row for row in map(Row._make, found)}

    def _continue(self, tenant: str, thread: str, row: Row | None, commits: Sequence[Recorded]) -> None:
        if row is not None and commits[-1].commit.n <= row.n:
            return
        anew = row is None or (row.deleted and commits[0].commit.n == 1)
        before = rows.view_of(row, tenant) if row is not None and not anew else absent(tenant, thread)
        after = before
        known: list[Recorded] = []
        for each in commits:
            if each.commit.n > after.n:
                after = advance(after, each)
                known.append(each)
        if row is not None and row.deleted and after.status == "open" and not anew:
            raise AssertionError("a restored thread is taken with its whole history")
        actor = known[-1].commit.actor
        if row is None:
            written = rows.row_of(self._new_number(), self._terms.tenant(tenant), after, known[0].commit.actor, actor)
            self._waiting[_PUT].append(written)
        else:
            written = rows.row_of(row.no, row.tenant, after, row.created_by, actor)
            self._waiting[_CHANGE].append(_changed_values(written))
        self._relate(row, before, written, after)
        self._write_texts(written, known)

    def _new_number(self) -> int:
        no = self._next if self._next is not None else int(self._connection.execute(_NEXT).fetchone()[0])
        self._next = no + 1
        return no

    def _relate(self, row: Row | None, before: ThreadView, written: Row, after: ThreadView) -> None:
        """Update the pairs of a thread from its former to its new row."""
        was_there, is_there = row is not None and not row.deleted, not written.deleted
        no, waiting = written.no, self._waiting
        if was_there != is_there:
            self._terms.count_thread(written.tenant, 1 if is_there else -1)
        elif row is None or not is_there:
            return
        elif row.updated != written.updated:
            waiting[_MOVE_PAIRS].append((written.updated, no))
            if row.updated_by == written.updated_by and before.metadata == after.metadata:
                return
        was = self._pairs(row, before.metadata) if row is not None and was_there else set()
        now = self._pairs(written, after.metadata) if is_there else set()
        new, old, times = now - was, was - now, (written.created, written.updated)
        self._terms.count(new, old)
        waiting[_PUT_PAIR] += [(no, *pair, *times) for pair in new]
        if old:
            gone = {pair.key for pair in old} - {pair.key for pair in new}
            waiting[_DELETE_PAIR] += [(no, key) for key in gone]

    def _pairs(self, row: Row, metadata: Metadata) -> set[Pair]:
        actors = (CREATED_BY, row.created_by), (UPDATED_BY, row.updated_by)
        named: list[tuple[str | int, str]] = [*metadata.items(), *actors]
        return {self._terms.pair(row.tenant, key, value) for key, value in named}

    def _write_texts(self, row: Row, commits: Sequence[Recorded]) -> None:  # noqa: C901 - one case an event
        """Add the texts of a thread's commits, and remove those that they delete."""
        if row.deleted:
            self._texts.remove(row.tenant, row.no)
            return
        for each in commits:
            for index, event in enumerate(each.commit.events):
                match event:
                    case ItemAdded():
                        self._texts.add(row.tenant, row.no, slot(each.commit.at, row.id, index), event)
                    case ThreadCreated() | MetadataUpdated() | ToolResourcesUpdated() | ItemMetadataUpdated():
                        continue  # They change no text; the row is made from the view.
                    case ItemReplaced():
                        self._texts.remove(row.tenant, row.no, ordinal_of(event))
                        self._texts.add(row.tenant, row.no, slot(each.commit.at, row.id, index), event)
                    case ItemDeleted():
                        self._texts.remove(row.tenant, row.no, ordinal_of(event))
                    case ItemsCleared():
                        self._texts.remove(row.tenant, row.no)
                    case ErasedThreadEvent() | ErasedItemEvent():
                        continue  # An erased content has no text.
                    case ThreadDeleted() | ThreadRestored() | ErasureRequested():
                        continue  # The row says whether the thread is there.
                    case ExpiryUpdated() | HoldPlaced() | HoldReleased() | ErasureCompleted() | TenantEvent():
                        continue  # They change no text.
                    case _:
                        assert_never(event)

    def _mark(self, marks: Mapping[int, int], erased: Mapping[int, int], hashes: Mapping[int, str]) -> None:
        further = (
            "INSERT INTO mark (shard, seq, hash, erased) VALUES (?, ?, ?, ?) ON CONFLICT (shard) DO UPDATE "
            "SET hash = iif(excluded.seq > seq, excluded.hash, hash), seq = max(seq, excluded.seq), "
            "erased = max(erased, excluded.erased)"
        )
        marked = [(shard, seq, hashes.get(shard, ""), erased.get(shard, 0)) for shard, seq in marks.items()]
        self._connection.executemany(further, marked)

    def _undo(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        for values in self._waiting.values():
            values.clear()
        self._next = None
        self._terms.forget()
        self._texts.forget()
