"""Excerpts: where in a message the words are that were searched for."""

from __future__ import annotations

import sys
from typing import Final

from clew_events.content import Role
from clew_events.listed import Excerpt, Piece
from clew_projections.index.words import Part, Wanted, parts

WORDS: Final = 24
"""How many words an excerpt has at most."""
_BEFORE: Final = 6
_FURTHER: Final = 2_000
"""How many words after the first match are looked at for a place where more of them stand together."""
_MOST: Final = 600
"""The greatest length of an excerpt in characters, for words may be of any length."""
_MORE: Final = "…"


def excerpt_of(message_id: str, role: Role, text: str, wanted: Wanted) -> Excerpt:
    """At most 24 words of a message, where most of what is wanted stands together; the first such place."""
    words, hits = _looked_at(text, wanted)
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
    return Excerpt(message_id=message_id, role=role, pieces=_joined(pieces))


def _looked_at(text: str, wanted: Wanted) -> tuple[list[Part], list[tuple[int, Part, str]]]:
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
        what = part.word if part.word in every else _begun(part.word, wanted.beginnings)
        if what is None:
            continue
        hits.append((at, part, what))
        near = {each for place, _, each in hits[-3 * WORDS :] if place > at - WORDS}
        enough = min(enough, at + (WORDS if len(near) == different else _FURTHER))
    return words, hits


def _begun(word: str, beginnings: tuple[str, ...]) -> str | None:
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


def _joined(pieces: list[Piece]) -> tuple[Piece, ...]:
    """Neighbours of one kind as one piece."""
    joined: list[Piece] = []
    for piece in pieces:
        if joined and joined[-1].match == piece.match:
            joined[-1] = Piece(joined[-1].text + piece.text, piece.match)
        else:
            joined.append(piece)
    return tuple(joined)
