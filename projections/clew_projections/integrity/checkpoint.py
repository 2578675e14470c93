"""A checkpoint: the signed Merkle roots of the whole log at some moment. A stored format.

It is signed as a line of JSON, and contains the hash of the signed checkpoint before it.
"""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from typing import Annotated, Final

import msgspec
from msgspec import Meta, Struct

from clew_events.checkpoint_messages import Count, Hash, ShardHeads
from clew_events.codec import UNREADABLE
from clew_events.errors import Corrupt
from clew_events.subjects import MAX_SHARDS

__all__ = ["FORMAT", "Checkpoint", "Count", "Hash", "ShardHeads", "decode", "encode", "hash_of"]

FORMAT: Final = 1


class Checkpoint(Struct, frozen=True, kw_only=True):
    """The state of the log.

    ``log`` identifies the deployment: a random id, made with the first checkpoint. ``number`` counts from 1, ``at`` is
    the signer's clock in UTC, and ``prev`` is the SHA-256 of the signed checkpoint before it, null for the first.
    ``shards`` are in order of their numbers. ``reason`` is present only when an operator had a history signed that does
    not follow from the checkpoint before.
    """

    v: int
    log: str
    number: Annotated[int, Meta(ge=1)]
    at: datetime
    prev: Hash | None
    shards: Annotated[tuple[ShardHeads, ...], Meta(min_length=1, max_length=MAX_SHARDS)]
    reason: str | None = None


_DECODER: Final = msgspec.json.Decoder(Checkpoint)


def encode(checkpoint: Checkpoint) -> bytes:
    """Return the line to sign, newline included."""
    return msgspec.json.encode(checkpoint) + b"\n"


def decode(line: bytes) -> Checkpoint:
    """Decode the checkpoint in a signed line.

    Raises:
        Corrupt: the line is not a checkpoint, or one of a newer Clew.
    """
    try:
        version = msgspec.json.decode(line, type=dict[str, object]).get("v")
        if version != FORMAT:
            raise Corrupt(
                f"the checkpoint has format {version!r}, expected {FORMAT}: another version of Clew wrote it",
                code="unknown_format",
            )
        return _DECODER.decode(line)
    except UNREADABLE as fault:
        raise Corrupt(f"not a checkpoint: {fault}", code="unreadable_checkpoint") from fault


def hash_of(signed: bytes) -> str:
    """Return the hash of a signed checkpoint, which the next checkpoint contains."""
    return sha256(signed).hexdigest()
