"""The tree over a shard's heads: one root for a set of leaves, whatever the order in which they came. Pure.

A binary tree by the bits of the leaves' places, as deep as it takes to have each leaf alone:

* nothing is 32 zero bytes;
* a subtree with one leaf is that leaf (SHA-256 over a zero byte and more, see
  :mod:`clew_projections.integrity.inclusion`);
* any other is the SHA-256 over a one byte, its left half and its right half.

As in RFC 6962, leaves and inner nodes begin differently, so neither passes for the other. A leaf's place is in its hash
and decides its path, so a root holds one head of a thread at most. A path names hashes alone: it tells how many threads
there are, by and by, and nothing of any other.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence
from hashlib import sha256
from typing import Final, NamedTuple

NOTHING: Final = bytes(32)
INNER: Final = b"\x01"
DEEPEST: Final = 256

Leaf = tuple[bytes, bytes]
"""A leaf's place and its hash. Leaves are in the order of their places, which are all different."""


class Subtree(NamedTuple):
    """A subtree: its hash, and the number of its leaves."""

    hash: bytes
    leaves: int


EMPTY: Final = Subtree(NOTHING, 0)


def join(left: Subtree, right: Subtree) -> Subtree:
    """The subtree of two halves."""
    leaves = left.leaves + right.leaves
    if leaves == 0:
        return EMPTY
    if leaves == 1:
        return left if left.leaves else right
    return Subtree(sha256(INNER + left.hash + right.hash).digest(), leaves)


def subtree(leaves: Sequence[Leaf], depth: int = 0) -> Subtree:
    """The subtree of leaves that have their first ``depth`` bits in common; with none in common, the whole tree."""
    if len(leaves) < 2:
        return Subtree(leaves[0][1], 1) if leaves else EMPTY
    middle = _middle(leaves, depth)
    return join(subtree(leaves[:middle], depth + 1), subtree(leaves[middle:], depth + 1))


def path(leaves: Sequence[Leaf], place: bytes, depth: int = 0) -> list[bytes]:
    """What stands beside the way from a leaf up to the top of :func:`subtree`, from the leaf on.

    The leaf itself must be among the leaves.
    """
    if len(leaves) == 1:
        return []
    middle = _middle(leaves, depth)
    ours, theirs = (leaves[middle:], leaves[:middle]) if bit(place, depth) else (leaves[:middle], leaves[middle:])
    return [*path(ours, place, depth + 1), subtree(theirs, depth + 1).hash]


def climb(place: bytes, leaf: bytes, beside: Sequence[bytes]) -> bytes:
    """The root to which a path leads from a leaf; what comes out for a wrong path is no root that anybody signed.

    Raises:
        ValueError: no path is that long, or a hash of it is none.
    """
    if len(beside) > DEEPEST or any(len(each) != 32 for each in beside):
        raise ValueError("no such path")
    found = leaf
    for depth, sibling in zip(range(len(beside) - 1, -1, -1), beside, strict=True):
        found = sha256(INNER + (sibling + found if bit(place, depth) else found + sibling)).digest()
    return found


def bit(place: bytes, depth: int) -> int:
    """Which half a place is in, ``depth`` bits down: 0 is the left one."""
    return place[depth >> 3] >> (7 - (depth & 7)) & 1


def _middle(leaves: Sequence[Leaf], depth: int) -> int:
    return bisect_left(leaves, 1, key=lambda leaf: bit(leaf[0], depth))


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
