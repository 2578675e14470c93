"""Excerpts: where in a message the words are that were searched for."""

from __future__ import annotations

from typing import Final

from clew_events.content import Role
from clew_events.listed import Excerpt, Piece
from clew_projections.index.texts import BEGIN, END

COLUMNS: Final = f"m.id, m.role, snippet(words, 1, '{BEGIN}', '{END}', '…', 24)"
"""What an excerpt is made of, for a query that joins ``words`` and ``message m``: at most 24 words of the text."""
_MOST: Final = 600
"""The greatest length of an excerpt in characters, for words may be of any length."""


def excerpt_of(message_id: str, role: Role, marked: str) -> Excerpt:
    """The excerpt that the values of :data:`COLUMNS` make."""
    pieces: list[Piece] = []
    left = _MOST
    for index, stretch in enumerate(marked.split(BEGIN)):
        matched, end, rest = stretch.partition(END) if index else ("", "", stretch)
        for text, match in ((matched, bool(end)), (rest, False)):
            shown = text if len(text) <= left else text[:left] + "…"
            if shown and left > 0:
                pieces.append(Piece(shown, match))
            left -= len(text)
    return Excerpt(message_id=message_id, role=role, pieces=tuple(pieces))
