"""Comparison of the index with the log: rows with folds of threads, and stored counts with real ones. Read-only."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from clew_events.errors import Corrupt, Unavailable
from clew_events.subjects import Address
from clew_projections.consistency.log_fold import FoldedThread, fold_commit
from clew_projections.consistency.stray_views import without_history
from clew_projections.consistency.view_check import ViewComparison
from clew_projections.findings import Finding
from clew_projections.history.histories import Histories
from clew_projections.index import rows
from clew_projections.index.fts import TURN, ItemText, place_of, said_in
from clew_projections.index.rows import Row
from clew_projections.index.terms import CREATED_BY, UPDATED_BY, actor_key
from clew_projections.nats.jetstream import JetStream
from clew_projections.views import ItemView, ThreadView, absent_stored

BUSY: Final = 10_000
"""Milliseconds to wait for a writer."""
WALKED: Final = 512
"""Threads in one page of names."""
_ROW: Final = (
    f"SELECT {', '.join(f't.{name}' for name in Row._fields)} "
    "FROM thread t JOIN tenant o ON o.no = t.tenant WHERE o.name = ? AND t.id = ?"
)
_PAIRS: Final = (
    "SELECT coalesce(k.name, p.key), e.value, p.created, p.updated FROM pair p "
    "LEFT JOIN key k ON k.no = p.key LEFT JOIN term e ON e.no = p.term AND e.key = p.key WHERE p.thread = ?"
)
_NAMES: Final = (
    "SELECT t.no, o.name, t.id FROM thread t JOIN tenant o ON o.no = t.tenant WHERE t.no > ? ORDER BY t.no LIMIT ?"
)
_TEXTS: Final = "SELECT no, ordinal, id, role, text, said_from, said_to FROM message WHERE thread = ?"
_FILED: Final = "SELECT rowid FROM words WHERE words MATCH ?"
_HEAD: Final = "SELECT t.n, t.hash FROM thread t JOIN tenant o ON o.no = t.tenant WHERE o.name = ? AND t.id = ?"
_COUNTS: Final = {
    "the number of threads of tenant": (
        "SELECT o.name, o.threads, (SELECT count(*) FROM thread t WHERE t.tenant = o.no AND t.deleted = 0) AS found "
        "FROM tenant o WHERE o.threads <> found"
    ),
    "the number of threads with the key": (
        "SELECT k.name, k.threads, coalesce(p.found, 0) FROM key k LEFT JOIN "
        "(SELECT key, count(*) AS found FROM pair GROUP BY key) p ON p.key = k.no "
        "WHERE k.threads <> coalesce(p.found, 0)"
    ),
    "the number of threads with the value": (
        "SELECT e.value, e.threads, (SELECT count(*) FROM pair p WHERE p.term = e.no) AS found "
        "FROM term e WHERE e.threads <> found"
    ),
    "what threads that are not there are found by": (
        "SELECT '', found, 0 FROM (SELECT count(*) AS found FROM pair p WHERE NOT EXISTS "
        "(SELECT 1 FROM thread t WHERE t.no = p.thread AND t.deleted = 0)) WHERE found > 0"
    ),
    "the texts of threads that are not there": (
        "SELECT '', found, 0 FROM (SELECT count(*) AS found FROM message m WHERE NOT EXISTS "
        "(SELECT 1 FROM thread t WHERE t.no = m.thread AND t.deleted = 0)) WHERE found > 0"
    ),
}


class ExpectedRows(Struct, kw_only=True):
    """What the index must hold about a thread, by its history."""

    view: ThreadView
    items: Mapping[int, ItemView]
    created_by: str
    updated_by: str


class _ActualRows(NamedTuple):
    row: Row
    pairs: dict[str | int, tuple[str | None, int, int]]
    texts: dict[int, tuple[str, ItemText]]
    found: bool
    """Whether searches find exactly these texts' messages."""


class IndexProof:
    """Compares one generation of a machine's index with the log. It may be written meanwhile."""

    def __init__(self, file: Path, histories: Histories) -> None:
        self._file = file
        self._histories = histories

    async def right(self, expected: Sequence[ExpectedRows]) -> list[bool]:
        """Return for each thread whether the index has it exactly as expected."""
        return await asyncio.to_thread(self._right, expected)

    async def threads(self, addresses: Sequence[Address]) -> list[str | None]:
        """Return how the index differs from the log, up to its own position, in threads; ``None`` where it does not.

        A thread whose history cannot be folded is left out of the index, which is no drift, nor is it that the index
        still has what a commit after its position erases.

        Raises:
            Unavailable: the log does not answer, or the file is unreadable.
        """
        held = await asyncio.to_thread(self._actual_at, addresses)
        compared = (self._compare(address, *each) for address, each in zip(addresses, held, strict=True))
        return await asyncio.gather(*compared)

    async def _compare(self, address: Address, mark: int, actual: _ActualRows | None) -> str | None:
        try:
            expected = await self._expected(address, mark)
        except Corrupt:
            return None
        what = _difference(expected, actual)
        return what if what is None or not await self._erases(address, mark) else None

    async def head(self, address: Address) -> tuple[int, str] | None:
        """Return the number and hash of a thread's last commit in the index; ``None`` if it has no such thread.

        Raises:
            Unavailable: the file cannot be read.
        """
        return await asyncio.to_thread(self._head, address)

    async def marks(self) -> dict[int, int]:
        """Return the index's position in each shard.

        Raises:
            Unavailable: the file cannot be read.
        """
        return await asyncio.to_thread(self._marks)

    async def knows_more(self, address: Address) -> bool:
        """Whether the index has commits of a thread that the log does not have.

        Raises:
            Unavailable: the log does not answer, or the file cannot be read.
        """
        ((mark, actual),) = await asyncio.to_thread(self._actual_at, [address])
        if actual is None:
            return False
        try:
            expected = await self._expected(address, mark)
        except Corrupt:
            return True
        return expected is None or expected.view.n < actual.row.n

    async def counts(self) -> list[str]:
        """Return descriptions of the stored counts that are wrong.

        Raises:
            Unavailable: the file cannot be read.
        """
        return await asyncio.to_thread(self._counts)

    async def page(self, after: int, most: int = WALKED) -> tuple[list[Address], int]:
        """Return a page of the index's threads and where the next begins; start with 0, the last page is empty.

        Raises:
            Unavailable: the file cannot be read.
        """
        return await asyncio.to_thread(self._page, after, most)

    async def _expected(self, address: Address, mark: int) -> ExpectedRows | None:
        folded = FoldedThread(view=absent_stored(*address))
        created_by = updated_by = ""
        async for each in self._histories.after(address, 0):
            if each.position.seq > mark:
                break
            fold_commit(folded, each)
            created_by, updated_by = created_by or each.commit.actor, each.commit.actor
        if not folded.view.n:
            return None
        return ExpectedRows(view=folded.view, items=folded.items, created_by=created_by, updated_by=updated_by)

    async def _erases(self, address: Address, mark: int) -> bool:
        return any([each.commit.requests_erasure async for each in self._histories.after(address, mark)])

    def _right(self, expected: Sequence[ExpectedRows]) -> list[bool]:
        with self._moment() as db:
            return [
                _difference(each, _actual_rows(db, Address(each.view.tenant, each.view.id))) is None
                for each in expected
            ]

    def _actual_at(self, addresses: Sequence[Address]) -> list[tuple[int, _ActualRows | None]]:
        with self._moment() as db:
            marks = _read_marks(db)
            return [(marks.get(self._histories.shard(each), 0), _actual_rows(db, each)) for each in addresses]

    def _head(self, address: Address) -> tuple[int, str] | None:
        with self._moment() as db:
            found = db.execute(_HEAD, address).fetchone()
        return (found[0], found[1]) if found is not None else None

    def _marks(self) -> dict[int, int]:
        with self._moment() as db:
            return _read_marks(db)

    def _counts(self) -> list[str]:
        with self._moment() as db:
            return [
                f"index: {what} {name}".rstrip() + f" is {actual} and should be {found}"
                for what, question in _COUNTS.items()
                for name, actual, found in db.execute(question)
            ]

    def _page(self, after: int, most: int) -> tuple[list[Address], int]:
        with self._moment() as db:
            found = list(db.execute(_NAMES, (after, most)))
        return [Address(tenant, thread) for _, tenant, thread in found], found[-1][0] if found else after

    @contextmanager
    def _moment(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(sqlite3.connect(f"{self._file.absolute().as_uri()}?mode=ro", uri=True)) as db:
                db.isolation_level = None
                db.execute(f"PRAGMA busy_timeout = {BUSY}")
                db.execute("BEGIN")
                yield db
        except sqlite3.Error as fault:
            raise Unavailable(f"the index {self._file} cannot be read: {fault}", code="index_unavailable") from fault


def _read_marks(db: sqlite3.Connection) -> dict[int, int]:
    return dict(db.execute("SELECT shard, seq FROM mark"))


def _actual_rows(db: sqlite3.Connection, address: Address) -> _ActualRows | None:
    found = db.execute(_ROW, address).fetchone()
    if found is None:
        return None
    row = Row._make(found)
    pairs = {name: (value, created, updated) for name, value, created, updated in db.execute(_PAIRS, (row.no,))}
    said = list(db.execute(_TEXTS, (row.no,)))
    texts = {ordinal: (name, ItemText(*rest)) for _, ordinal, name, *rest in said}
    filed = [TURN - turned for (turned,) in db.execute(_FILED, (place_of(row.no),))]
    return _ActualRows(row, pairs, texts, sorted(filed) == sorted(each[0] for each in said))


def _difference(expected: ExpectedRows | None, actual: _ActualRows | None) -> str | None:
    """Describe the first difference of the index from the log; ``None`` if there is none."""
    if expected is None:
        return None if actual is None else "index: it has the thread, and the log has nothing of it"
    if actual is None:
        return "index: it has no such thread, though it has come past its first commit"
    row = actual.row
    wanted = rows.row_of(row.no, row.tenant, expected.view, expected.created_by, expected.updated_by)
    for name, ours, theirs in zip(Row._fields, wanted, row, strict=True):
        if ours != theirs:
            return f"index: '{name}' is {theirs!r} and should be {ours!r}"
    there = expected.view.status == "open"
    named: dict[str | int, str] = {}
    if there:
        named.update((name, value) for name, value in expected.view.metadata.items())
        named[actor_key(row.tenant, CREATED_BY)] = expected.created_by
        named[actor_key(row.tenant, UPDATED_BY)] = expected.updated_by
    pairs = {name: (value, wanted.created, wanted.updated) for name, value in named.items()}
    if pairs != actual.pairs:
        wrong = sorted(
            str(name) for name in pairs.keys() | actual.pairs.keys() if pairs.get(name) != actual.pairs.get(name)
        )
        return f"index: what it finds the thread by is wrong under {', '.join(wrong)}"
    said = (
        {}
        if not there
        else {view.ordinal: (view.id, said_in(view)) for view in expected.items.values() if not view.gone}
    )
    texts = {ordinal: each for ordinal, each in said.items() if each[1].text and not each[1].text.isspace()}
    if texts != actual.texts:
        wrong = sorted(
            str(each) for each in texts.keys() | actual.texts.keys() if texts.get(each) != actual.texts.get(each)
        )
        return f"index: the text of its messages number {', '.join(wrong[:10])} is not what they say"
    return None if actual.found else "index: what its messages are found by is not there, or is left from others"


AT_ONCE: Final = 16
"""Threads whose histories are read at once."""
CODE: Final = "index_drift"


class IndexCheck:
    """Adds the comparison of the index to comparisons of views."""

    def __init__(self, js: JetStream, proof: IndexProof, histories: Histories) -> None:
        self._js = js
        self._proof = proof
        self._histories = histories

    async def compare_expected(
        self, compared: Sequence[ViewComparison], expected: Sequence[ExpectedRows]
    ) -> list[ViewComparison]:
        """Add the index to comparisons of threads whose expected rows are known.

        Raises:
            Unavailable: the log or the index cannot be read.
        """
        right = await self._proof.right(expected)
        # A differing thread may have just changed, or not be indexed yet.
        again = {
            each.address: each for each in await self.of([c for c, ok in zip(compared, right, strict=True) if not ok])
        }
        return [again.get(each.address, each) for each in compared]

    async def of(self, compared: Sequence[ViewComparison]) -> list[ViewComparison]:
        """Add the index, up to its own position, to comparisons.

        Raises:
            Unavailable: the log or the index cannot be read.
        """
        found: list[ViewComparison] = []
        for start in range(0, len(compared), AT_ONCE):
            some = compared[start : start + AT_ONCE]
            wrong = await self._proof.threads([each.address for each in some])
            found += [
                each if what is None else replace(each, index=self._finding(each.address, what))
                for each, what in zip(some, wrong, strict=True)
            ]
        return found

    async def rest(self) -> AsyncGenerator[Finding, None]:
        """Yield findings about wrong counts, and about threads that the log does not have.

        Raises:
            Unavailable: the log or the index cannot be read.
        """
        for what in await self._proof.counts():
            yield Finding(tenant="", thread="", code=CODE, what=what, shard=0)
        page, place = await self._proof.page(0)
        while page:
            strays = await without_history(self._js, self._histories, page)
            for address, wrong in zip(strays, await self._proof.threads(strays), strict=True):
                if wrong is not None:
                    yield self._finding(address, wrong)
            page, place = await self._proof.page(place)

    def _finding(self, address: Address, what: str) -> Finding:
        shard = self._histories.shard(address)
        return Finding(tenant=address.tenant, thread=address.thread, code=CODE, what=what, shard=shard)
