"""Words of texts and of searches, in any script, and the excerpts around them."""

from __future__ import annotations

import pytest

from clew_projections.index.search import WORDS, excerpt_of
from clew_projections.index.tokenizer import LONGEST, SearchTerms, parse_search, words_in


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Déjà VU, (near) a_b", {"deja", "vu", "near", "a", "b"}),
        ("RE\u0301SUME\u0301 ﬁne", {"resume", "fine"}),
        ("東京都", {"東", "京", "都", "東京", "京都"}),
        ("ｶﾞ \uff21", {"ガ", "a"}),
        ("한국어 OK", {"한", "국", "어", "한국", "국어", "ok"}),
        ("किताब", {"किताब"}),
        ("мой", {"мой"}),
        ("x" * (LONGEST + 9), {"x" * LONGEST}),
        ("\u0301 -- \x00 \U0001f600", set()),
    ],
)
def test_a_text_is_found_by_its_words_whatever_the_script(text: str, words: set[str]):
    assert words_in(text) == words


@pytest.mark.parametrize(
    ("search", "wanted"),
    [
        ("Warm* day", SearchTerms(("day",), ("warm",))),
        ("warm *day (a*b)", SearchTerms(("warm", "day", "b"), ("a",))),
        ("東京都", SearchTerms(("東京", "京都"))),
        ("京*", SearchTerms(("京",))),
        ("* - \u0301", SearchTerms(())),
    ],
)
def test_a_search_is_words_and_beginnings(search: str, wanted: SearchTerms):
    assert parse_search(search) == wanted


def shown(text: str, search: str) -> str:
    """The excerpt, with what matches in brackets."""
    excerpt = excerpt_of("msg_1", "user", text, parse_search(search))
    return "".join(f"[{piece.text}]" if piece.match else piece.text for piece in excerpt.pieces)


def test_an_excerpt_points_at_what_was_searched_for():
    assert shown("Your REFUND, please!", "refund") == "Your [REFUND], please!"
    assert shown("明日の東京は晴れ", "東京は") == "明日の[東京は]晴れ"
    assert shown("warmth and warming", "warm*") == "[warmth] and [warming]"
    assert shown("the ｶﾞｽ bill", "ガス") == "the [ｶﾞｽ] bill"


def test_an_excerpt_is_of_the_place_where_most_of_it_stands_together():
    words = [f"w{number}" for number in range(200)]
    words[3], words[100], words[104] = "refund", "refund", "policy"
    text = shown(" ".join(words), "refund policy")
    assert text.startswith("…")
    assert text.endswith("…")
    assert "[refund] w101 w102 w103 [policy]" in text
    assert len(text.split()) == WORDS


def test_an_excerpt_of_one_endless_word_ends():
    excerpt = excerpt_of("msg_1", "user", "x" * 100_000, SearchTerms(("x" * LONGEST,)))
    assert sum(len(piece.text) for piece in excerpt.pieces) < 1000
