"""A checkpoint as it was signed, and as an auditor keeps it."""

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
    """A checkpoint with the note it was taken from. Nothing is said of whether the signature is right."""

    checkpoint: Checkpoint
    note: bytes

    @property
    def hash(self) -> str:
        """The hash by which the next checkpoint names this one."""
        return hash_of(self.note)

    @property
    def key_ids(self) -> tuple[str, ...]:
        """The keys it says that it was signed with."""
        return tuple(key_id for key_id, _ in parts(self.note)[1])


def read(note: bytes) -> SignedNote:
    """A note as a checkpoint, whoever signed it.

    Raises:
        Corrupt: it is no checkpoint.
    """
    return SignedNote(decode(parts(note)[0]), note)


def verify_note(note: bytes, key: VerifierKey) -> SignedNote:
    """A note as a checkpoint that was signed with a key.

    Raises:
        Corrupt: it was not, or it is no checkpoint.
    """
    return SignedNote(decode(key.text(note)), note)


class KeptCheckpoint(Struct, frozen=True, kw_only=True):
    """What an auditor keeps: a checkpoint as signed, the key to check it with, and, if wanted, every shard's heads."""

    clew: Literal["checkpoint"] = "checkpoint"
    v: int = FORMAT
    checkpoint: str
    key: str
    heads: tuple[tuple[Head, ...], ...] | None = None


def read_kept(raw: bytes) -> KeptCheckpoint:
    """A file that an auditor kept.

    Raises:
        Corrupt: it is none of these, or is one of a newer Clew.
    """
    kept = _read(raw, KeptCheckpoint, "an exported checkpoint")
    checkpoint = read(kept.checkpoint.encode()).checkpoint
    if kept.heads is None:
        return kept
    for shard, said in enumerate(checkpoint.shards):
        heads = kept.heads[shard] if len(kept.heads) == len(checkpoint.shards) else ()
        try:
            root = subtree(leaves_of(heads)).hash.hex()
        except (ValueError, OverflowError):
            root = ""
        if root != said.root:
            raise Corrupt(
                f"the heads of shard {shard} in this file are not those of checkpoint {checkpoint.number}: "
                "the file was altered",
                code="altered_checkpoint",
            )
    return kept


def read_proof(raw: bytes) -> KeptProof:
    """A proof in a file.

    Raises:
        Corrupt: it is none, or is one of a newer Clew.
    """
    return _read(raw, KeptProof, "a proof")


def _read(raw: bytes, form: type[T], what: str) -> T:
    try:
        kept = msgspec.json.decode(raw, type=form)
    except UNREADABLE as fault:
        raise Corrupt(f"this file is not {what}: {fault}", code="unreadable_file") from fault
    if kept.v != FORMAT:
        raise Invalid(f"this file is {what} of format {kept.v}, written by a newer Clew", code="unknown_format")
    return kept
