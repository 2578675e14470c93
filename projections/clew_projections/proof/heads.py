"""Heads: the end of a thread's chain, and the leaf that stands for it in a shard's tree."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Final

from clew_events.checkpoints import Head
from clew_events.subjects import Address

__all__ = ["LEAF", "THREAD", "Head", "key_of", "leaf_of", "leaves_of"]

THREAD: Final = b"clew thread\x00"
LEAF: Final = b"\x00"


def key_of(address: Address) -> bytes:
    """A thread's place in the tree of its shard: 32 bytes, from the first bit on.

    The SHA-256 of ``clew thread``, a zero byte, the tenant, a zero byte and the thread's id.
    """
    return sha256(THREAD + address.tenant.encode() + b"\x00" + address.thread.encode()).digest()


def leaf_of(key: bytes, n: int, head: str) -> bytes:
    """A thread's leaf: the SHA-256 of a zero byte, its place, ``n`` in eight bytes and the hash in 32."""
    return sha256(LEAF + key + n.to_bytes(8, "big") + bytes.fromhex(head)).digest()


def leaves_of(heads: Iterable[Head]) -> list[tuple[bytes, bytes]]:
    """Heads as the leaves of a tree, in its order.

    Raises:
        ValueError: a thread is there twice, or a hash is none.
    """
    places: dict[bytes, bytes] = {}
    for head in heads:
        place = key_of(head.address)
        if place in places:
            raise ValueError(f"thread {head.thread} has two heads")
        places[place] = leaf_of(place, head.n, head.hash)
    return sorted(places.items())
