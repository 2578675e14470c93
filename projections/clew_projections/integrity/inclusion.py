"""Inclusion proofs: the head of a thread's chain as a leaf of its shard's Merkle tree."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from hashlib import sha256
from typing import Final

from clew_events.checkpoint_messages import Head, HeadProof
from clew_events.codec import check_seals, decode
from clew_events.erasures import Certificate
from clew_events.errors import Corrupt
from clew_events.subjects import Address, shard_of
from clew_projections.integrity.checkpoint import Checkpoint
from clew_projections.integrity.erasure_check import certified_contents
from clew_projections.integrity.links import Tip, follow
from clew_projections.integrity.merkle import climb

__all__ = ["LEAF", "THREAD", "Head", "HeadProof", "check_between", "check_included", "key_of", "leaf_of", "leaves_of"]

THREAD: Final = b"clew thread\x00"
LEAF: Final = b"\x00"


def key_of(address: Address) -> bytes:
    """Return a thread's place in the tree of its shard: 32 bytes, read from the first bit on.

    It is the SHA-256 of ``clew thread``, a zero byte, the tenant, a zero byte and the thread's id.
    """
    return sha256(THREAD + address.tenant.encode() + b"\x00" + address.thread.encode()).digest()


def leaf_of(key: bytes, n: int, head: str) -> bytes:
    """Return a thread's leaf: the SHA-256 of a zero byte, its place, ``n`` in eight bytes and the hash in 32."""
    return sha256(LEAF + key + n.to_bytes(8, "big") + bytes.fromhex(head)).digest()


def leaves_of(heads: Iterable[Head]) -> list[tuple[bytes, bytes]]:
    """Return heads as the leaves of a tree, in the order of their places.

    Raises:
        ValueError: a thread has two heads, or a hash is not one.
    """
    places: dict[bytes, bytes] = {}
    for head in heads:
        place = key_of(head.address)
        if place in places:
            raise ValueError(f"thread {head.thread} has two heads")
        places[place] = leaf_of(place, head.n, head.hash)
    return sorted(places.items())


def check_included(head: Head, path: Sequence[str], checkpoint: Checkpoint) -> None:
    """Check that a head is included in a checkpoint. This does not check the checkpoint's signature.

    Raises:
        Corrupt: it is not included.
    """
    shard = shard_of(head.thread, len(checkpoint.shards))
    place = key_of(head.address)
    try:
        root = climb(place, leaf_of(place, head.n, head.hash), [bytes.fromhex(sibling) for sibling in path])
    except (ValueError, OverflowError) as fault:
        raise Corrupt(f"this is not a path through a tree: {fault}", code="broken_proof") from fault
    if root.hex() != checkpoint.shards[shard].root:
        raise Corrupt(
            f"commit {head.n} of thread {head.thread}, by hash {head.hash}, is not its head under checkpoint "
            f"{checkpoint.number}: the path does not lead to the root of shard {shard}",
            code="broken_proof",
        )


def check_between(
    earlier: Head | None, later: Head, bodies: Sequence[bytes], certificates: Sequence[Certificate] = ()
) -> None:
    """Check that commits lead without a gap from a thread's earlier head, or from its beginning, to a later head.

    Raises:
        Corrupt: they do not, or a content does not fit its seal, or is gone and no certificate says that it is erased.
    """
    tip = Tip(earlier.n, earlier.hash) if earlier is not None else Tip(0, None)
    if earlier is not None and earlier.address != later.address:
        raise Corrupt("the two heads are of different threads", code="broken_proof")
    for body in bodies:
        followed = follow(tip, later.address, body)
        if followed is None:
            raise Corrupt(
                f"thread {later.thread}: what should be commit {tip.n + 1} does not continue commit {tip.n}",
                code="broken_chain",
            )
        check_seals(body, certified_contents(decode(body), certificates) if certificates else ())
        tip = followed
    if (tip.n, tip.hash) != (later.n, later.hash):
        raise Corrupt(
            f"thread {later.thread}: the commits lead to commit {tip.n}, hash {tip.hash}, and not to commit {later.n}, "
            f"hash {later.hash}",
            code="broken_chain",
        )
