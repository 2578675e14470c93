"""The Merkle tree over a shard's heads: one root for a set of leaves, independent of their order. Pure.

A binary tree by the bits of the leaves' places, as deep as needed to separate all leaves:

* an empty subtree is 32 zero bytes;
* a subtree with one leaf is that leaf (SHA-256 over a zero byte and more, see
  :mod:`clew_projections.integrity.inclusion`);
* any other subtree is the SHA-256 over a one byte, its left half and its right half.

As in RFC 6962, leaves and inner nodes have different prefixes, so one cannot pass for the other. A leaf's place is part
of its hash and decides its path, so a root includes at most one head of a thread. A path consists of hashes only: it
reveals roughly how many threads there are, and nothing about other threads.
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
"""A leaf's place and its hash. Leaves are in the order of their places, which are distinct."""


class Subtree(NamedTuple):
    """A subtree: its hash and its number of leaves."""

    hash: bytes
    leaves: int


EMPTY: Final = Subtree(NOTHING, 0)


def join(left: Subtree, right: Subtree) -> Subtree:
    """Return the subtree of two halves."""
    leaves = left.leaves + right.leaves
    if leaves == 0:
        return EMPTY
    if leaves == 1:
        return left if left.leaves else right
    return Subtree(sha256(INNER + left.hash + right.hash).digest(), leaves)


def subtree(leaves: Sequence[Leaf], depth: int = 0) -> Subtree:
    """Return the subtree of leaves that share their first ``depth`` bits; at depth 0, the whole tree."""
    if len(leaves) < 2:
        return Subtree(leaves[0][1], 1) if leaves else EMPTY
    middle = _middle(leaves, depth)
    return join(subtree(leaves[:middle], depth + 1), subtree(leaves[middle:], depth + 1))


def path(leaves: Sequence[Leaf], place: bytes, depth: int = 0) -> list[bytes]:
    """Return the sibling hashes on the path from a leaf up to the root of :func:`subtree`, from the leaf on.

    The leaf must be among the leaves.
    """
    if len(leaves) == 1:
        return []
    middle = _middle(leaves, depth)
    ours, theirs = (leaves[middle:], leaves[:middle]) if bit(place, depth) else (leaves[:middle], leaves[middle:])
    return [*path(ours, place, depth + 1), subtree(theirs, depth + 1).hash]


def climb(place: bytes, leaf: bytes, beside: Sequence[bytes]) -> bytes:
    """Return the root to which a path leads from a leaf; a wrong path leads to a root that is not signed.

    Raises:
        ValueError: the path is too long, or contains something other than hashes.
    """
    if len(beside) > DEEPEST or any(len(sibling) != 32 for sibling in beside):
        raise ValueError("no such path")
    node = leaf
    for depth, sibling in zip(range(len(beside) - 1, -1, -1), beside, strict=True):
        node = sha256(INNER + (sibling + node if bit(place, depth) else node + sibling)).digest()
    return node


def bit(place: bytes, depth: int) -> int:
    """Return the half that a place is in at a depth: 0 is left, 1 is right."""
    return place[depth >> 3] >> (7 - (depth & 7)) & 1


def _middle(leaves: Sequence[Leaf], depth: int) -> int:
    return bisect_left(leaves, 1, key=lambda leaf: bit(leaf[0], depth))


Beside = list[list[bytes]]


def beside(leaves: Sequence[Leaf], ours: Collection[bytes], depth: int = 0) -> Beside:
    """Return the sibling hashes on the paths from some leaves, by their places, to the root of :func:`subtree`."""
    mine = [place for place, _ in leaves if place in ours]
    if not mine:
        return [[subtree(leaves, depth).hash]]
    if len(mine) == 1:
        return [path(leaves, mine[0], depth)]
    middle = _middle(leaves, depth)
    return [*beside(leaves[:middle], ours, depth + 1), *beside(leaves[middle:], ours, depth + 1)]


def climb_all(ours: Sequence[Leaf], besides: Sequence[Sequence[bytes]]) -> bytes:
    """Return the root to which several paths lead, given the leaves in order; wrong paths lead to an unsigned root.

    Raises:
        ValueError: the paths do not fit the leaves.
    """
    rest = iter(besides)
    root = _climb(ours, rest, 0)
    if next(rest, None) is not None:
        raise ValueError("there are more paths than leaves")
    return root


def _climb(ours: Sequence[Leaf], rest: Iterator[Sequence[bytes]], depth: int) -> bytes:
    if len(ours) > 1:
        if depth >= DEEPEST:
            raise ValueError("two leaves at one place")
        middle = _middle(ours, depth)
        left = _climb(ours[:middle], rest, depth + 1)
        return sha256(INNER + left + _climb(ours[middle:], rest, depth + 1)).digest()
    way = next(rest, None)
    if way is None or depth + len(way) > DEEPEST or any(len(each) != len(NOTHING) for each in way):
        raise ValueError("no such path")
    if not ours:
        if len(way) != 1:
            raise ValueError("a subtree has one hash")
        return bytes(way[0])
    ((place, node),) = ours
    for level, sibling in zip(range(depth + len(way) - 1, depth - 1, -1), way, strict=True):
        node = sha256(INNER + (sibling + node if bit(place, level) else node + sibling)).digest()
    return node
