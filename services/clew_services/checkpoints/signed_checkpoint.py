"""Signed checkpoints, and the files in which auditors keep them."""

from __future__ import annotations

from typing import Literal, TypeVar

import msgspec
from msgspec import Struct

from clew_events.checkpoint_messages import FORMAT, KeptProof
from clew_events.codec import UNREADABLE
from clew_events.errors import Corrupt, Invalid
from clew_projections.integrity.checkpoint import Checkpoint, decode, hash_of
from clew_projections.integrity.inclusion import Head, leaves_of
from clew_projections.integrity.merkle import subtree
from clew_services.checkpoints.note import VerifierKey, parts

__all__ = [
    "FORMAT",
    "KeptCheckpoint",
    "KeptProof",
    "SignedNote",
    "read",
    "read_kept",
    "read_proof",
    "verify_note",
]

T = TypeVar("T", bound="KeptCheckpoint | KeptProof")


class SignedNote(Struct, frozen=True):
    """A checkpoint with its note. The signature may be unverified; see :func:`read` and :func:`verify_note`."""

    checkpoint: Checkpoint
    note: bytes

    @property
    def hash(self) -> str:
        """The hash of the note, which the next checkpoint holds."""
        return hash_of(self.note)

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The ids of the keys that the note names, not verified."""
        return tuple(key_id for key_id, _ in parts(self.note)[1])


def read(note: bytes) -> SignedNote:
    """Decode a note, without verifying its signature.

    Raises:
        Corrupt: it is no checkpoint.
    """
    return SignedNote(decode(parts(note)[0]), note)


def verify_note(note: bytes, key: VerifierKey) -> SignedNote:
    """Verify a note's signature by a key, and decode it.

    Raises:
        Corrupt: the signature is missing or wrong, or it is no checkpoint.
    """
    return SignedNote(decode(key.text(note)), note)


class KeptCheckpoint(Struct, frozen=True, kw_only=True):
    """An exported checkpoint: its note, the public key, and, if included, the heads of every shard."""

    clew: Literal["checkpoint"] = "checkpoint"
    v: int = FORMAT
    checkpoint: str
    key: str
    heads: tuple[tuple[Head, ...], ...] | None = None


def read_kept(raw: bytes) -> KeptCheckpoint:
    """Read an exported checkpoint.

    Raises:
        Corrupt: its heads were altered.
        Invalid: it is none, or was written by a newer Clew.
    """
    kept = _read(raw, KeptCheckpoint, "an exported checkpoint")
    checkpoint = read(kept.checkpoint.encode()).checkpoint
    if kept.heads is None:
        return kept
    for shard, signed in enumerate(checkpoint.shards):
        heads = kept.heads[shard] if len(kept.heads) == len(checkpoint.shards) else ()
        try:
            root = subtree(leaves_of(heads)).hash.hex()
        except (ValueError, OverflowError):
            root = ""
        if root != signed.root:
            raise Corrupt(
                f"the heads of shard {shard} in this file are not those of checkpoint {checkpoint.number}: "
                "the file was altered",
                code="altered_checkpoint",
            )
    return kept


def read_proof(raw: bytes) -> KeptProof:
    """Read an inclusion proof.

    Raises:
        Invalid: it is none, or was written by a newer Clew.
    """
    return _read(raw, KeptProof, "a proof")


def _read(raw: bytes, form: type[T], what: str) -> T:
    try:
        kept = msgspec.json.decode(raw, type=form)
    except UNREADABLE as fault:
        raise Invalid(f"this file is not {what}: {fault}", code="unreadable_file") from fault
    if kept.v != FORMAT:
        raise Invalid(f"this file is {what} of format {kept.v}, written by a newer Clew", code="unknown_format")
    return kept
