"""What somebody types into a search, as a question to the full-text index: plain words, whatever is between them."""

from __future__ import annotations

import unicodedata
from typing import Final

from clew_events.errors import Invalid
from clew_events.listing import MAX_WORDS

_PARTS_OF_WORDS: Final = frozenset("LN")
_MARKS: Final = frozenset({"Mn", "Mc"})


def words_of(search: str) -> tuple[str, ...]:
    """The different words, in order. What is no letter and no digit only separates them.

    Raises:
        Invalid: there are more than 64.
    """
    spaced = "".join(c if _is_part(c) else " " for c in search)
    words = tuple(dict.fromkeys(word for word in spaced.split() if any(_stands_alone(c) for c in word)))
    if len(words) > MAX_WORDS:
        raise Invalid(
            f"Invalid 'search': too many words. Expected at most {MAX_WORDS} different ones, but got {len(words)} "
            "instead.",
            param="search",
        )
    return words


def expression(words: tuple[str, ...], place: str) -> str:
    """All of the words in the text of a message that is filed under ``place``, as FTS5 takes it."""
    wanted = " AND ".join(f'"{word}"' for word in words)
    return f'place : "{place}" AND text : ({wanted})'


def _is_part(character: str) -> bool:
    return _stands_alone(character) or unicodedata.category(character) in _MARKS


def _stands_alone(character: str) -> bool:
    # What the tokenizer takes for a part of a word: letters, digits, and characters for private use.
    category = unicodedata.category(character)
    return category[0] in _PARTS_OF_WORDS or category == "Co"
