"""The tokenizer: the words of a text and of a search.

A word is a run of letters and digits, without regard to case, accents and width. In a script without spaces between
words (Chinese, Japanese, Korean, Thai and others), each character is a word, and so is each pair of adjacent ones.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import Final, NamedTuple

from clew_events.errors import Invalid
from clew_events.list_query import MAX_WORDS

LONGEST: Final = 128
"""How many characters of a word count: those of the longest hashes that people write."""
_ASCII: Final = re.compile(r"[a-z0-9]+")
_UNSPACED: Final = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3005-\u3007\u3041-\u312f\u3131-\u318e\u31a0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\uff66-\uffdc\U0001b000-\U0001b16f"
    "\U00020000-\U000323af"
)
# The short i of Cyrillic is a letter and not an i with an accent, though Unicode takes it apart like one.
_ACCENTS: Final = re.compile("(?<![\u0418\u0438])[\u0300-\u036f]")
_MARKS: Final = frozenset({"Mn", "Mc"})


class Part(NamedTuple):
    """A word of a text, folded, and where it stands."""

    start: int
    end: int
    word: str


class SearchTerms(NamedTuple):
    """The terms of a search, all of which one message must have: words and prefixes, each once, in order."""

    words: tuple[str, ...]
    beginnings: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.words or self.beginnings)


def words_in(text: str) -> set[str]:
    """Return the words of a text."""
    if text.isascii():
        found = set(_ASCII.findall(text.lower()))
        return found if max(map(len, found), default=0) <= LONGEST else {word[:LONGEST] for word in found}
    return {part.word for part in parts(text)}


def parts(text: str) -> Iterator[Part]:
    """Yield the words of a text in order; of words at the same place, the shorter first."""
    if text.isascii():
        for found in _ASCII.finditer(text.lower()):
            yield Part(found.start(), found.end(), found[0][:LONGEST])
        return
    for start, end, run, unspaced in _runs(text):
        if not unspaced:
            yield Part(start, end, run[:LONGEST])
            continue
        # Where folding makes more or less of a stretch, nothing of it can be pointed at but the whole.
        alike = len(run) == end - start
        for index, character in enumerate(run):
            yield Part(start + index, start + index + 1, character) if alike else Part(start, end, character)
            if index + 1 < len(run):
                pair = run[index : index + 2]
                yield Part(start + index, start + index + 2, pair) if alike else Part(start, end, pair)


def parse_search(search: str) -> SearchTerms:
    """Parse a search. A star directly after a word makes it a prefix.

    All other characters than letters and digits separate words.

    Raises:
        Invalid: there are more than 64 words.
    """
    words: dict[str, None] = {}
    beginnings: dict[str, None] = {}
    for _, end, run, unspaced in _runs(search):
        if not unspaced:
            (beginnings if search[end : end + 1] == "*" else words)[run[:LONGEST]] = None
        elif len(run) == 1:
            words[run] = None
        else:
            words.update((run[index : index + 2], None) for index in range(len(run) - 1))
    if (count := len(words) + len(beginnings)) > MAX_WORDS:
        raise Invalid(
            f"Invalid 'search': too many words. Expected at most {MAX_WORDS} different ones, but got {count} "
            "instead. In a script without spaces, each two characters that stand together are one.",
            param="search",
        )
    return SearchTerms(tuple(words), tuple(beginnings))


def _runs(text: str) -> Iterator[tuple[int, int, str, bool]]:
    """The stretches of one kind of script, folded; and whether it is a kind that has no spaces."""
    run, is_unspaced = _patterns()
    for found in run.finditer(text.translate(_SPACED)):
        if folded := _fold_case(found[0]):
            yield found.start(), found.end(), folded, is_unspaced.match(folded) is not None


@cache
def _patterns() -> tuple[re.Pattern[str], re.Pattern[str]]:
    """A run of one kind of script, and a character of the kind without spaces.

    Compiled when the first text needs them: so large a class takes as long as importing a library, and most processes
    tokenize nothing.
    """
    return re.compile(f"[{_UNSPACED}]+|[^ {_UNSPACED}]+"), re.compile(f"[{_UNSPACED}]")


def _fold_case(run: str) -> str:
    if run.isascii():
        return run.lower()
    plain = _ACCENTS.sub("", unicodedata.normalize("NFKD", run))
    plain = unicodedata.normalize("NFC", plain).casefold()
    if not plain.isalnum():
        plain = "".join(each for each in plain if _is_part(each))
        if not any(_stands_alone(each) for each in plain):
            return ""
    return plain


def _is_part(character: str) -> bool:
    return _stands_alone(character) or unicodedata.category(character) in _MARKS


def _stands_alone(character: str) -> bool:
    category = unicodedata.category(character)
    return category[0] in "LN" or category == "Co"


class _WordCharacters(dict[int, int]):
    """Each character as it is if it is a part of a word, and a space otherwise. Remembers what it was asked."""

    def __missing__(self, code: int) -> int:
        self[code] = kept = code if _is_part(chr(code)) else 32
        return kept


_SPACED: Final = _WordCharacters()
