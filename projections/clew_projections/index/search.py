"""Full-text search: threads by their newest message that has all words, read from the newest on."""

from __future__ import annotations

import sqlite3
import sys
from collections.abc import Iterator
from typing import Final, NamedTuple

from msgspec.structs import replace

from clew_events.content import Role
from clew_events.errors import Invalid
from clew_events.list_query import ListThreads
from clew_events.list_reply import Excerpt, Piece
from clew_projections.index.fts import TURN, moment_of, place_of, tenant_term
from clew_projections.index.scan import Page, Selection, sample
from clew_projections.index.tokenizer import Part, SearchTerms, parts

FEW: Final = 300
"""The most candidate threads that are checked one by one."""
ENDINGS: Final = 100
"""The most words that a prefix may match."""

FORKS: Final = 20
"""The most forks that an excerpt names."""

_COLUMNS: Final = "t.no, t.id, t.shown, m.no, m.id, m.role, m.text, m.ordinal"
_FORKS: Final = """
WITH RECURSIVE fork (id, deleted) AS (
    SELECT t.id, t.deleted FROM thread t INDEXED BY thread_forked
    WHERE t.tenant = ?1 AND t.forked_from = ?2 AND t.forked_from <> '' AND t.inherited >= ?3 AND t.created >= ?4
    UNION ALL
    SELECT t.id, t.deleted FROM fork f CROSS JOIN thread t INDEXED BY thread_forked
    WHERE t.tenant = ?1 AND t.forked_from = f.id AND t.forked_from <> '' AND t.inherited >= ?3
)
SELECT id FROM fork WHERE deleted = 0 LIMIT ?5
"""
_HIT: Final = f"SELECT {_COLUMNS} FROM message m CROSS JOIN thread t ON t.no = m.thread WHERE m.no = ?"
_LAST: Final = "\U0010ffff"


class Hit(NamedTuple):
    """A matching thread, its listed JSON, and the message that decides its place."""

    no: int
    id: str
    shown: bytes
    message: int
    excerpt: Excerpt


class Search:
    """The threads of a selection whose messages match a search."""

    def __init__(self, connection: sqlite3.Connection, wanted: SearchTerms, selection: Selection) -> None:
        """Raises ``Invalid`` if a prefix matches too many words."""
        self._connection = connection
        self._wanted = wanted
        self._selection = selection
        self._expression = self._fts_expression()

    def find_hits(self, query: ListThreads, page: Page) -> Iterator[Hit]:
        """Yield the threads of a page and all that follow in its direction, lazily."""
        if not self._expression or self._selection.none:
            return
        candidates = self._selection.candidates
        if candidates is not None and candidates.threads <= FEW:
            yield from self._among_few(query, page)
        else:
            yield from self._among_all(query, page)

    def sample(self, most: int) -> tuple[list[int], bool]:
        """Return the numbers of matching threads among at most ``most`` messages, and whether these are all."""
        if not self._expression or self._selection.none:
            return [], True
        candidates = self._selection.candidates
        if candidates is not None and candidates.threads <= FEW:
            numbers = sample(self._connection, self._selection, FEW + 1)
            return [no for no in numbers if self._best(no, "desc") is not None], True
        seen: dict[int, None] = {}
        for looked, (no,) in enumerate(self._connection.execute(*self._stream("t.no", "desc", (0, TURN)))):
            if looked == most:
                return list(seen), False
            seen[no] = None
        return list(seen), True

    def _fts_expression(self) -> str:
        """Return the search as an FTS5 expression; empty if no message can match."""
        tenant = self._selection.tenant
        parts = [f'"{tenant_term(tenant, word)}"' for word in self._wanted.words]
        for beginning in self._wanted.beginnings:
            endings = self._endings(beginning)
            if not endings:
                return ""
            parts.append("(" + " OR ".join(f'"{word}"' for word in endings) + ")")
        return " AND ".join(parts)

    def _endings(self, beginning: str) -> list[str]:
        # FTS5 would gather all messages with such a word before it gave the first one, however many there are.
        whole = tenant_term(self._selection.tenant, beginning)
        found = self._connection.execute(
            "SELECT word FROM vocabulary WHERE word >= ? AND word < ? LIMIT ?", (whole, whole + _LAST, ENDINGS + 1)
        ).fetchall()
        if len(found) > ENDINGS:
            raise Invalid(
                f"Invalid 'search': more than {ENDINGS} words begin with '{beginning}'. Write more of the word.",
                code="beginning_too_short",
                param="search",
            )
        return [word for (word,) in found]

    def _among_few(self, query: ListThreads, page: Page) -> Iterator[Hit]:
        numbers = sample(self._connection, self._selection, FEW + 1)
        best = {no: message for no in numbers if (message := self._best(no, query.order)) is not None}
        low, high = _limits(query, page)
        ordered = sorted(best.items(), key=lambda each: each[1], reverse=page.direction(query.order) == "desc")
        for _, message in ordered:
            if low <= message <= high:
                yield self._hit(self._connection.execute(_HIT, (message,)).fetchone())

    def _among_all(self, query: ListThreads, page: Page) -> Iterator[Hit]:
        seen: set[int] = set()
        from_the_start = page.after is None and not page.goes_back
        for row in self._connection.execute(*self._stream(_COLUMNS, page.direction(query.order), _limits(query, page))):
            no, message = row[0], row[3]
            if no in seen:
                continue
            # A thread with a match that comes first in the query's order has its place there.
            first = from_the_start or self._is_first(no, message, query.order)
            if first or not page.goes_back:
                seen.add(no)
            if first:
                yield self._hit(row)

    def _hit(self, row: tuple[int, str, bytes, int, str, Role, str, int]) -> Hit:
        no, thread, shown, message, name, role, text, ordinal = row
        excerpt = excerpt_of(name, role, text, self._wanted)
        since = (self._selection.tenant, thread, ordinal, moment_of(message), FORKS)
        if forks := tuple(fork for (fork,) in self._connection.execute(_FORKS, since)):
            excerpt = replace(excerpt, forks=forks)
        return Hit(no, thread, shown, message, excerpt)

    def _stream(self, columns: str, order: str, limits: tuple[int, int]) -> tuple[str, tuple[object, ...]]:
        selection = self._selection
        low, high = limits
        text = (
            f"SELECT {columns} FROM words CROSS JOIN message m ON m.no = {TURN} - words.rowid "
            "CROSS JOIN thread t ON t.no = m.thread WHERE words MATCH ? AND words.rowid BETWEEN ? AND ? "
            f"AND t.tenant = ? AND t.deleted = 0 AND {selection.condition.text} ORDER BY words.rowid {_reverse(order)}"
        )
        return text, (self._expression, TURN - high, TURN - low, selection.tenant, *selection.condition.values)

    def _best(self, thread: int, order: str) -> int | None:
        """Return the first matching message of a thread in the given order; ``None`` if there is none."""
        # Not by ORDER BY: FTS5 walks a long list of messages backwards at many times the price.
        first = "min" if order == "desc" else "max"
        query_sql = f"SELECT {first}(+rowid) FROM words WHERE words MATCH ?"
        best: int | None = self._connection.execute(query_sql, (self._of_thread(thread),)).fetchone()[0]
        return None if best is None else TURN - best

    def _is_first(self, thread: int, message: int, order: str) -> bool:
        """Whether there is no message before this one by which a thread is found."""
        beyond = "<" if order == "desc" else ">"
        query_sql = f"SELECT 1 FROM words WHERE words MATCH ? AND rowid {beyond} ? LIMIT 1"
        return self._connection.execute(query_sql, (self._of_thread(thread), TURN - message)).fetchone() is None

    def _of_thread(self, thread: int) -> str:
        return f'"{place_of(thread)}" AND {self._expression}'


def _reverse(order: str) -> str:
    return "asc" if order == "desc" else "desc"


def _limits(query: ListThreads, page: Page) -> tuple[int, int]:
    """Return the first and the last number of the messages of a page."""
    low, high = (page.before, page.after) if query.order == "desc" else (page.after, page.before)
    return (low.key + 1 if low is not None else 0, high.key - 1 if high is not None else TURN)


WORDS: Final = 24
"""How many words an excerpt has at most."""
_BEFORE: Final = 6
_FURTHER: Final = 2_000
"""How many words after the first match are looked at for a place where more of them stand together."""
_MOST: Final = 600
"""The greatest length of an excerpt in characters, for words may be of any length."""
_MORE: Final = "…"


def excerpt_of(message_id: str, role: Role, text: str, wanted: SearchTerms) -> Excerpt:
    """Return an excerpt of at most 24 words, from the first place with the most search terms together."""
    words, hits = _match_words(text, wanted)
    first = _best(hits)
    last = max((at for at, _, _ in hits if at < first + WORDS), default=first)
    begin = max(0, first - _BEFORE, min(first, last - WORDS + 1))
    end = min(len(words), begin + WORDS)
    start = words[begin].start if begin else 0
    stop = words[end - 1].end if end < len(words) else len(text)
    pieces = [Piece(_MORE)] if begin else []
    left, at = _MOST, start
    for hit in (part for place, part, _ in hits if begin <= place < end):
        if hit.end <= at or left <= 0:
            continue
        from_here = max(at, hit.start)
        left = _put(pieces, text[at:from_here], left, match=False)
        left = _put(pieces, text[from_here : hit.end], left, match=True)
        at = hit.end
    _put(pieces, text[at:stop] + (_MORE if end < len(words) else ""), left, match=False)
    return Excerpt(message_id=message_id, role=role, pieces=_join_pieces(pieces))


def _match_words(text: str, wanted: SearchTerms) -> tuple[list[Part], list[tuple[int, Part, str]]]:
    """The words of a text as far as they matter, and which of them are wanted: where, which, and for what."""
    words: list[Part] = []
    hits: list[tuple[int, Part, str]] = []
    every, different = frozenset(wanted.words), len(wanted.words) + len(wanted.beginnings)
    enough = sys.maxsize
    for part in parts(text):
        if not words or part.start > words[-1].start:
            words.append(part)
        at = len(words) - 1
        if at > enough:
            break
        what = part.word if part.word in every else _has_beginning(part.word, wanted.beginnings)
        if what is None:
            continue
        hits.append((at, part, what))
        near = {each for place, _, each in hits[-3 * WORDS :] if place > at - WORDS}
        enough = min(enough, at + (WORDS if len(near) == different else _FURTHER))
    return words, hits


def _has_beginning(word: str, beginnings: tuple[str, ...]) -> str | None:
    return next((each + "*" for each in beginnings if word.startswith(each)), None)


def _best(hits: list[tuple[int, Part, str]]) -> int:
    """The word at which the best place begins."""
    best, most = 0, 0
    for index, (at, _, _) in enumerate(hits):
        near = set()
        for place, _, what in hits[index:]:
            if place >= at + WORDS:
                break
            near.add(what)
        if len(near) > most:
            best, most = at, len(near)
    return best


def _put(pieces: list[Piece], text: str, left: int, *, match: bool) -> int:
    if text and left > 0:
        pieces.append(Piece(text if len(text) <= left else text[:left] + _MORE, match))
    return left - len(text)


def _join_pieces(pieces: list[Piece]) -> tuple[Piece, ...]:
    """Join adjacent pieces of the same kind."""
    joined: list[Piece] = []
    for piece in pieces:
        if joined and joined[-1].match == piece.match:
            joined[-1] = Piece(joined[-1].text + piece.text, piece.match)
        else:
            joined.append(piece)
    return tuple(joined)
