"""A bounded LRU cache: the least recently used value is dropped."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class LRUCache(Generic[K, V]):
    """Values by key that weigh at most ``limit`` together. Reading a value and writing it both count as use."""

    __slots__ = ("_limit", "_values", "_weigh", "_weight")

    def __init__(self, limit: int, weigh: Callable[[V], int] = lambda _: 1) -> None:
        """``weigh`` returns the weight of a value: 1, unless it is given. The latest value is kept in any case."""
        self._limit = limit
        self._weigh = weigh
        self._weight = 0
        self._values: OrderedDict[K, tuple[V, int]] = OrderedDict()

    def get(self, key: K) -> V | None:
        """The value of a key, if it is kept."""
        if (kept := self._values.get(key)) is None:
            return None
        self._values.move_to_end(key)
        return kept[0]

    def put(self, key: K, value: V) -> None:
        """Keep a value; the least recently used ones are dropped if there is no room."""
        self.drop(key)
        weight = self._weigh(value)
        self._values[key] = value, weight
        self._weight += weight
        while self._weight > self._limit and len(self._values) > 1:
            self._weight -= self._values.popitem(last=False)[1][1]

    def drop(self, key: K) -> None:
        """Drop the value of a key, if it is kept."""
        if (kept := self._values.pop(key, None)) is not None:
            self._weight -= kept[1]

    def clear(self) -> None:
        """Drop everything."""
        self._values.clear()
        self._weight = 0

    def __len__(self) -> int:
        return len(self._values)
