"""A cache of bounded weight: what was used longest ago goes first."""

from __future__ import annotations

from clew_projections.lru_cache import LRUCache


def test_what_was_used_longest_ago_is_dropped() -> None:
    cache = LRUCache[str, str](2)
    cache.put("a", "1")
    cache.put("b", "2")
    assert cache.get("a") == "1"
    cache.put("c", "3")
    assert (cache.get("a"), cache.get("b"), cache.get("c"), len(cache)) == ("1", None, "3", 2)


def test_values_weigh_at_most_the_limit_together() -> None:
    cache = LRUCache[str, str](5, len)
    for key in ("aa", "bb", "cc"):
        cache.put(key, key)
    assert (cache.get("aa"), cache.get("bb"), cache.get("cc")) == (None, "bb", "cc")
    cache.put("bb", "b")
    cache.put("dd", "dd")
    assert len(cache) == 3
    cache.drop("dd")
    cache.drop("nobody")
    cache.put("ee", "ee")
    assert len(cache) == 3


def test_a_value_above_the_limit_is_kept_alone_until_the_next() -> None:
    cache = LRUCache[str, str](5, len)
    cache.put("small", "1")
    cache.put("large", "1234567")
    assert (cache.get("small"), cache.get("large")) == (None, "1234567")
    cache.put("next", "1")
    assert (cache.get("large"), len(cache)) == (None, 1)
    cache.clear()
    cache.put("again", "12345")
    assert cache.get("again") == "12345"
