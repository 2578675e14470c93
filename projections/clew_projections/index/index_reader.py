"""Queries for lists of threads, with counts and facets, each in one read transaction of the index."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import islice, takewhile
from typing import Final

import msgspec
from msgspec import Raw, Struct

from clew_events.errors import Corrupt, Invalid, Unavailable
from clew_events.ids import is_thread_id
from clew_events.list_query import Condition, ListHolds, ListThreads
from clew_events.list_reply import Count, Facet, FacetValue, Freshness, HoldPage, ThreadList
from clew_events.objects import HeldThread
from clew_projections.index import list_page
from clew_projections.index.conditions import TRUE, CandidatePlanner, Conditions, few_of_kind, find_few, where_of
from clew_projections.index.fts import first_text_of
from clew_projections.index.list_page import Place, WrittenList, listed_thread, with_texts
from clew_projections.index.rows import holds_text, moment
from clew_projections.index.scan import Page, ScanHit, Selection, sample, scan_page
from clew_projections.index.search import Hit, Search
from clew_projections.index.suspects import DuePlace, DueQuestion, Suspect, find_expiring_tenants, find_suspects
from clew_projections.index.tokenizer import SearchTerms, parse_search
from clew_projections.page_size import PAGE_BYTES, PageSize

PATIENCE: Final = 5.0
"""Seconds after which a query that scans too many threads is aborted."""
_ENCODE: Final = msgspec.json.Encoder().encode
_STEPS: Final = 20_000
_HELD: Final = (
    "SELECT t.id, t.hold, t.deleted FROM thread t INDEXED BY thread_held JOIN tenant o ON o.no = t.tenant "
    "WHERE t.hold <> '' AND o.name = ? AND t.id > ? AND instr(t.hold, ?) > 0 ORDER BY t.id LIMIT ?"
)
NAMES: Final = 100
"""The most names of holds in an answer."""
_NAMES: Final = (  # Materialized, for a condition that is never true leaves an index without a use, which is an error.
    "WITH t AS MATERIALIZED (SELECT * FROM thread INDEXED BY thread_held WHERE hold <> '' AND tenant = ?) "
    "SELECT DISTINCT t.hold FROM t WHERE t.deleted = 0 AND"
)
_FRESH: Final = "SELECT shard, seq, (SELECT at FROM newest) FROM mark ORDER BY shard"


class IndexReader:
    """Reads one file, for one thread at a time."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._until = 0.0
        connection.set_progress_handler(self._is_late, _STEPS)

    def marks(self) -> dict[int, int]:
        """By shard, the sequence up to which everything is in the index.

        Raises:
            Unavailable: the file cannot be read for now.
            Corrupt: the file is damaged.
        """
        with self._moment():
            return self._marks()

    def list(self, tenant: str, query: ListThreads) -> ThreadList:
        """A page of a tenant's threads, to be looked into; raises what :meth:`page` raises."""
        return self.page(tenant, query).read()

    def page(self, tenant: str, query: ListThreads, room: int = PAGE_BYTES) -> WrittenList:
        """Read a page of a tenant's threads, ready to send. Its threads and facets have at most ``room`` bytes.

        Raises:
            Invalid: a cursor is not one of this query; too many words have a prefix
                (``beginning_too_short``); or the query takes too long (``question_too_large``).
            Unavailable: the file cannot be read now.
            Corrupt: the file is damaged.
        """
        _check_order(query)
        wanted = parse_search(query.search) if query.search is not None else None
        with self._moment():
            return self._answer(tenant, query, wanted, room)

    def holds(self, tenant: str, query: ListHolds) -> HoldPage:
        """Read a page of a tenant's threads that have legal holds, deleted ones too.

        Raises:
            Unavailable: the file cannot be read now.
            Corrupt: the file is damaged.
        """
        named = " " if query.hold is None else holds_text(query.hold)
        with self._moment():
            found = self._connection.execute(_HELD, (tenant, query.after or "", named, query.limit + 1)).fetchall()
            fresh = self._freshness()
        data = tuple(
            HeldThread(id=thread, holds=tuple(names.split()), deleted=bool(deleted))
            for thread, names, deleted in found[: query.limit]
        )
        return HoldPage(
            data=data,
            first_id=data[0].id if data else None,
            last_id=data[-1].id if data else None,
            has_more=len(found) > query.limit,
            fresh=fresh,
        )

    def names_of_holds(self, tenant: str, where: Condition | None) -> tuple[str, ...]:
        """Return the names of legal holds on a tenant's threads that match, up to :data:`NAMES`. No thread is deleted.

        Raises what :meth:`page` raises.
        """
        with self._moment():
            found = self._connection.execute("SELECT no FROM tenant WHERE name = ?", (tenant,)).fetchone()
            owner = found[0] if found is not None else 0
            held = TRUE if where is None else Conditions(self._connection, owner).sql(where)
            rows = self._connection.execute(f"{_NAMES} {held.text} LIMIT ?", (owner, *held.values, NAMES)).fetchall()
        return tuple(dict.fromkeys(name for (names,) in rows for name in names.split()))[:NAMES]

    def suspects(self, tenant: str, question: DueQuestion, after: DuePlace, limit: int) -> Sequence[Suspect]:
        """Read threads of a tenant that may be due; see :func:`clew_projections.index.suspects.find_suspects`.

        Raises:
            Invalid: the question takes too long (``question_too_large``).
            Unavailable: the file cannot be read now.
            Corrupt: the file is damaged.
        """
        with self._moment():
            return find_suspects(self._connection, tenant, question, after, limit)

    def expiring_tenants(self, until: datetime) -> Sequence[str]:
        """Read the tenants that have threads which expire by a time.

        Raises:
            Unavailable: the file cannot be read now.
            Corrupt: the file is damaged.
        """
        with self._moment():
            return find_expiring_tenants(self._connection, until)

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def _answer(self, tenant: str, query: ListThreads, wanted: SearchTerms | None, room: int) -> WrittenList:
        found = self._connection.execute("SELECT no, threads FROM tenant WHERE name = ?", (tenant,)).fetchone()
        owner, threads = found if found is not None else (0, 0)
        conditions = Conditions(self._connection, owner)
        span = Page(self._place(owner, query, "after"), self._place(owner, query, "before"))
        selection = Selection(owner, threads, TRUE, None)
        where = where_of(query)
        if where is not None:
            candidates = CandidatePlanner(self._connection, conditions).candidates(where)
            few = find_few(self._connection, owner, query.where) if query.where is not None else None
            if few is None and candidates is None and query.kind is not None:
                few = few_of_kind(self._connection, owner, query, threads)
            selection = Selection(owner, threads, conditions.sql(where), candidates, few)
        search = None if wanted is None else Search(self._connection, wanted, selection)
        page: list[ScanHit] | list[Hit]
        if search is None:
            page = scan_page(self._connection, query, selection, span)
        else:
            page = list(islice(search.find_hits(query, span), query.limit + 1))
        numbers = Numbers()
        if query.count or query.facets or query.actors:
            everything = where is None and search is None
            numbers = Counter(self._connection, conditions, selection).answer(query, search, everything=everything)
        size = PageSize(room - len(_ENCODE((numbers.facets, numbers.actors))))
        written = (self._write(query, found) for found in page[: query.limit])
        data = tuple(takewhile(lambda thread: size.take(len(thread)), written))
        shown, more = page[: len(data)], len(page) > len(data)
        if span.goes_back:
            shown, data = shown[::-1], data[::-1]
        begun, ended = (more, bool(shown)) if span.goes_back else (span.after is not None and bool(shown), more)
        return WrittenList(
            data=data,
            first_id=shown[0].id if shown else None,
            last_id=shown[-1].id if shown else None,
            has_more=more,
            next=list_page.encode_place(query, _place_of(shown[-1])) if ended else None,
            previous=list_page.encode_place(query, _place_of(shown[0])) if begun else None,
            fresh=self._freshness(),
            count=numbers.count,
            facets=numbers.facets,
            actors=numbers.actors,
        )

    def _write(self, query: ListThreads, found: ScanHit | Hit) -> Raw:
        first_text = first_text_of(self._connection, found.no) if query.first_text else None
        return with_texts(listed_thread(found.shown), found.excerpt if isinstance(found, Hit) else None, first_text)

    def _place(self, tenant: int, query: ListThreads, param: str) -> Place | None:
        text: str | None = getattr(query, param)
        if text is None:
            return None
        if not is_thread_id(text):
            return list_page.decode_place(query, param, text)
        if query.ordered_by != "created":
            raise Invalid(
                f"Invalid '{param}': a thread is no lasting place in the order by '{query.ordered_by}', for it moves. "
                "Take 'next' from the answer before.",
                code="invalid_cursor",
                param=param,
            )
        query_sql = "SELECT created FROM thread WHERE tenant = ? AND id = ?"
        found = self._connection.execute(query_sql, (tenant, text)).fetchone()
        if found is None:
            raise Invalid(f"Invalid '{param}': no thread found with id '{text}'.", code="invalid_cursor", param=param)
        return Place(found[0], text)

    def _freshness(self) -> Freshness:
        rows = self._connection.execute(_FRESH).fetchall()
        if not rows:
            return Freshness(position="", at=None)
        at = rows[0][2]
        return Freshness(position=",".join([f"{shard}-{seq}" for shard, seq, _ in rows]), at=at and moment(at))

    def _marks(self) -> dict[int, int]:
        return dict(self._connection.execute("SELECT shard, seq FROM mark"))

    @contextmanager
    def _moment(self) -> Iterator[None]:
        """A read transaction with a time limit."""
        self._until = time.monotonic() + PATIENCE
        try:
            self._connection.execute("BEGIN")
            yield
        except sqlite3.OperationalError as fault:
            if self._is_late():
                raise Invalid(
                    f"Invalid 'where': the question makes the index look at too many threads for {PATIENCE:.0f} s. "
                    "Narrow it down by what few threads have, or by time.",
                    code="question_too_large",
                    param="where",
                ) from fault
            raise Unavailable(f"the index cannot be read: {fault}", code="index_unavailable") from fault
        except sqlite3.DatabaseError as fault:
            raise Corrupt(
                f"the index is damaged: {fault}. It is being rebuilt from the log.", code="unreadable_index"
            ) from fault
        finally:
            self._until = float("inf")
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    def _is_late(self) -> bool:
        return time.monotonic() > self._until


def _check_order(query: ListThreads) -> None:
    if (query.search is not None) == (query.ordered_by == "match"):
        return
    if query.search is None:
        why = "'match' is the order of a search, and there is no 'search'"
    else:
        why = f"a search is ordered by 'match', not by '{query.ordered_by}'"
    raise Invalid(f"Invalid 'order_by': {why}.", param="order_by")


def _place_of(found: ScanHit | Hit) -> Place:
    return Place(found.time if isinstance(found, ScanHit) else found.message, found.id)


MOST: Final = 10_000
"""The most threads that are counted one by one."""
VALUES: Final = 20
"""The most values of a facet in an answer."""


class Numbers(Struct, frozen=True):
    """What a query has counted; ``None`` of what it does not ask for."""

    count: Count | None = None
    facets: tuple[Facet, ...] | None = None
    actors: tuple[Facet, ...] | None = None


class Counter:
    """Counts the threads of one query."""

    def __init__(self, connection: sqlite3.Connection, conditions: Conditions, selection: Selection) -> None:
        self._connection = connection
        self._conditions = conditions
        self._selection = selection

    def answer(self, query: ListThreads, search: Search | None, *, everything: bool) -> Numbers:
        """Return the count and the facets that a query requests; ``everything`` if it matches all threads."""
        kept = self._stored_count(everything=everything) if search is None else None
        numbers: list[int] = []
        exact = True
        if (query.count and kept is None) or ((query.facets or query.actors) and not everything):
            if search is not None:
                numbers, exact = search.sample(MOST)
            else:
                numbers = sample(self._connection, self._selection, MOST + 1)
                exact = len(numbers) <= MOST
                del numbers[MOST:]
        counted = None
        if query.count:
            counted = Count(kept, exact=True) if kept is not None else Count(len(numbers), exact)

        def read(name: str, key: int) -> Facet:
            return self._whole_facet(name, key) if everything else self._facet(name, key, numbers, exact)

        facets = tuple(read(name, self._conditions.key(name)) for name in query.facets)
        names = {"created_by": False, "updated_by": True} if query.actors else {}
        actors = tuple(read(name, self._conditions.actor_key(latest=latest)) for name, latest in names.items())
        return Numbers(counted, facets or None, actors or None)

    def _stored_count(self, *, everything: bool) -> int | None:
        if everything:
            return self._selection.threads
        candidates = self._selection.candidates
        return candidates.threads if candidates is not None and candidates.whole else None

    def _whole_facet(self, name: str, key: int) -> Facet:
        found = self._connection.execute(
            "SELECT value, threads FROM term WHERE key = ? AND threads > 0 ORDER BY threads DESC, value LIMIT ?",
            (key, VALUES + 1),
        ).fetchall()
        return _facet(name, found, exact=True)

    def _facet(self, name: str, key: int, numbers: list[int], exact: bool) -> Facet:
        found = self._connection.execute(
            "SELECT v.value, count(*) FROM json_each(?) j CROSS JOIN pair p ON p.thread = j.value AND p.key = ? "
            "CROSS JOIN term v ON v.no = p.term GROUP BY v.no ORDER BY 2 DESC, 1 LIMIT ?",
            (msgspec.json.encode(numbers).decode(), key, VALUES + 1),
        ).fetchall()
        return _facet(name, found, exact=exact)


def _facet(key: str, found: list[tuple[str, int]], *, exact: bool) -> Facet:
    values = tuple(FacetValue(value, threads) for value, threads in found[:VALUES])
    return Facet(key=key, values=values, more=len(found) > VALUES, exact=exact)
