"""What leads from several heads at once to the root of their shard: everything that stands beside their ways. Pure.

From the top on, left before right: where two or more of the leaves are below, both halves; where one is, the way from
it up to here (see :func:`clew_projections.proof.merkle.path`); where none is, the hash of the subtree. Of other threads
it has hashes alone. With a single leaf it is that leaf's path.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from hashlib import sha256

from clew_projections.proof.merkle import DEEPEST, INNER, NOTHING, Leaf, bit, path, subtree

Beside = list[list[bytes]]


def beside(leaves: Sequence[Leaf], ours: Collection[bytes], depth: int = 0) -> Beside:
    """What stands beside the ways from some leaves, by their places, to the top of :func:`merkle.subtree`."""
    mine = [place for place, _ in leaves if place in ours]
    if not mine:
        return [[subtree(leaves, depth).hash]]
    if len(mine) == 1:
        return [path(leaves, mine[0], depth)]
    middle = _middle(leaves, depth)
    return [*beside(leaves[:middle], ours, depth + 1), *beside(leaves[middle:], ours, depth + 1)]


def climb_all(ours: Sequence[Leaf], besides: Sequence[Sequence[bytes]]) -> bytes:
    """The root to which all that leads, given the leaves in their order; what is wrong leads to none that was signed.

    Raises:
        ValueError: it leads nowhere.
    """
    rest = iter(besides)
    found = _climb(ours, rest, 0)
    if next(rest, None) is not None:
        raise ValueError("there is more beside the ways than there are ways")
    return found


def _climb(ours: Sequence[Leaf], rest: Iterator[Sequence[bytes]], depth: int) -> bytes:
    if len(ours) > 1:
        if depth >= DEEPEST:
            raise ValueError("two leaves at one place")
        middle = _middle(ours, depth)
        left = _climb(ours[:middle], rest, depth + 1)
        return sha256(INNER + left + _climb(ours[middle:], rest, depth + 1)).digest()
    way = next(rest, None)
    if way is None or depth + len(way) > DEEPEST or any(len(each) != len(NOTHING) for each in way):
        raise ValueError("no such way")
    if not ours:
        if len(way) != 1:
            raise ValueError("a subtree has one hash")
        return bytes(way[0])
    ((place, found),) = ours
    for level, sibling in zip(range(depth + len(way) - 1, depth - 1, -1), way, strict=True):
        found = sha256(INNER + (sibling + found if bit(place, level) else found + sibling)).digest()
    return found


def _middle(leaves: Sequence[Leaf], depth: int) -> int:
    return bisect_left(leaves, 1, key=lambda leaf: bit(leaf[0], depth))
