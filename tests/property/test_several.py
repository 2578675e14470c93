"""Proofs of many heads at once lead to the same root as the whole tree, and to no other."""

from __future__ import annotations

from hashlib import sha256

from hypothesis import given
from hypothesis import strategies as st

from clew_projections.integrity.merkle import beside, climb_all, path, subtree

NAMES = st.lists(st.integers(0, 10_000), max_size=40, unique=True)


def leaves_of(names: list[int]) -> list[tuple[bytes, bytes]]:
    return sorted((sha256(b"%d" % name).digest(), sha256(b"leaf %d" % name).digest()) for name in names)


@given(NAMES, st.data())
def test_some_leaves_and_what_is_beside_them_give_the_root(names: list[int], data: st.DataObject) -> None:
    leaves = leaves_of(names)
    ours = [leaf for leaf in leaves if data.draw(st.booleans())]
    ways = beside(leaves, {place for place, _ in ours})
    assert climb_all(ours, ways) == subtree(leaves).hash


@given(NAMES.filter(bool), st.data())
def test_a_leaf_left_out_changed_or_put_in_gives_another_root(names: list[int], data: st.DataObject) -> None:
    leaves = leaves_of(names)
    ours = [leaf for leaf in leaves if data.draw(st.booleans())] or leaves[:1]
    ways = beside(leaves, {place for place, _ in ours})
    which = data.draw(st.integers(0, len(ours) - 1))
    other = (ours[which][0], sha256(b"another").digest())
    for wrong in (
        [*ours[:which], *ours[which + 1 :]],
        [*ours[:which], other, *ours[which + 1 :]],
        sorted([*ours, (sha256(b"one more").digest(), bytes(32))]),
    ):
        try:
            found = climb_all(wrong, ways)
        except ValueError:
            continue
        assert found != subtree(leaves).hash


@given(NAMES.filter(bool))
def test_with_one_leaf_it_is_that_leafs_path(names: list[int]) -> None:
    leaves = leaves_of(names)
    assert beside(leaves, {leaves[0][0]}) == [path(leaves, leaves[0][0])]
