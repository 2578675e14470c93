"""Excerpts: where in a message the words are that were searched for."""

from __future__ import annotations

import sqlite3
from typing import Final

from clew_events.listed import Excerpt, Piece
from clew_projections.index.texts import BEGIN, END

_TOKENS: Final = 24
_MOST: Final = 600
_READ: Final = (
    "SELECT m.id, m.role, snippet(words, 1, ?, ?, '…', ?) FROM words CROSS JOIN message m ON m.no = words.rowid "
    "WHERE words MATCH ? AND words.rowid = ?"
)


def excerpt(connection: sqlite3.Connection, expression: str, message: int) -> Excerpt:
    """The piece of a message, found by an expression, that has most of its words."""
    message_id, role, text = connection.execute(_READ, (BEGIN, END, _TOKENS, expression, message)).fetchone()
    return Excerpt(message_id=message_id, role=role, pieces=_pieces(text))


def _pieces(marked: str) -> tuple[Piece, ...]:
    pieces: list[Piece] = []
    left = _MOST
    for index, stretch in enumerate(marked.split(BEGIN)):
        matched, end, rest = stretch.partition(END) if index else ("", "", stretch)
        for text, match in ((matched, bool(end)), (rest, False)):
            shown = text if len(text) <= left else text[:left] + "…"
            if shown and left > 0:
                pieces.append(Piece(shown, match))
            left -= len(text)
    return tuple(pieces)
