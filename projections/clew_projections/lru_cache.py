"""A bounded LRU cache: the least recently used value is dropped."""

from __future__ import annotations

from collections import OrderedDict
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class LRUCache(Generic[K, V]):
    """At most ``limit`` values by key. Reading a value and writing it both count as use."""

    __slots__ = ("_limit", "_values")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        """The value of a key, if it is kept."""
        value = self._values.get(key)
        if value is not None:
            self._values.move_to_end(key)
        return value

    def put(self, key: K, value: V) -> None:
        """Keep a value; the least recently used one is dropped if there is no room."""
        self._values[key] = value
        self._values.move_to_end(key)
        if len(self._values) > self._limit:
            self._values.popitem(last=False)

    def drop(self, key: K) -> None:
        """Drop the value of a key, if it is kept."""
        self._values.pop(key, None)

    def clear(self) -> None:
        """Drop everything."""
        self._values.clear()

    def __len__(self) -> int:
        return len(self._values)
