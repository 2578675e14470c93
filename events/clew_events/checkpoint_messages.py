"""Signed checkpoints and proofs as they cross the wire, and what may be asked about them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from clew_events.ids import ThreadId
from clew_events.requests import Request
from clew_events.subjects import Address

FORMAT: Final = 1
LONGEST_PATH: Final = 256

Hash = Annotated[str, Meta(pattern="^[0-9a-f]{64}$")]
"""A SHA-256, in hexadecimal digits."""
Count = Annotated[int, Meta(ge=0)]
Number = Annotated[int, Meta(ge=1, le=1_000_000_000)]


class ListCheckpoints(Request, frozen=True, kw_only=True):
    """The signed checkpoints of the log, the newest first: those ``before`` a number, or all."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    before: Number | None = None


class GetCheckpoint(Request, frozen=True, kw_only=True):
    """A signed checkpoint by its number, or the latest."""

    number: Number | None = None


class GetProof(Request, frozen=True, kw_only=True):
    """What proves a thread's head under the latest signed checkpoint."""

    thread_id: ThreadId


class Head(Struct, frozen=True, array_like=True):
    """The end of a thread's chain: the number of its last commit, and the hash of that commit's body."""

    tenant: str
    thread: str
    n: int
    hash: str

    @property
    def address(self) -> Address:
        """Whose thread, and which."""
        return Address(self.tenant, self.thread)


class ShardHeads(Struct, frozen=True, kw_only=True):
    """One shard of the log up to a sequence of its stream.

    ``root`` is that of the tree over the heads of its ``threads``, which have so many ``commits`` in their chains;
    ``misfits`` are messages that continue no chain.
    """

    seq: Count
    threads: Count
    commits: Count
    misfits: Count
    root: Hash


class SignedCheckpoint(Struct, frozen=True, kw_only=True):
    """A checkpoint. ``note`` is what was signed, with its signatures, by ``keys``; ``hash`` is its SHA-256.

    Whether a signature is right is for whoever has the public key.
    """

    number: int
    object: Literal["checkpoint"] = "checkpoint"
    created_at: int
    at: datetime
    log: str
    prev: str | None
    shards: tuple[ShardHeads, ...]
    reason: str | None
    hash: str
    keys: tuple[str, ...]
    note: str


class CheckpointPage(Struct, frozen=True, kw_only=True):
    """A page of checkpoints, the newest first. The ``number`` of the last is the ``before`` of the page after it."""

    object: Literal["list"] = "list"
    data: tuple[SignedCheckpoint, ...]
    has_more: bool


class HeadProof(Struct, frozen=True, kw_only=True):
    """A thread's head under a checkpoint: the checkpoint as signed, the head, and the way from it to its shard's root.

    ``path`` begins at the leaf. What is hashed how is in the guide to proofs.
    """

    checkpoint: str
    tenant: str
    thread: str
    n: Annotated[int, Meta(ge=1)]
    hash: Hash
    path: Annotated[tuple[Hash, ...], Meta(max_length=LONGEST_PATH)]

    @property
    def head(self) -> Head:
        """The thread's head."""
        return Head(self.tenant, self.thread, self.n, self.hash)


class KeptProof(Struct, frozen=True, kw_only=True):
    """A thread's head under a checkpoint, to be checked by whoever has the key.

    With an ``earlier`` head, ``commits`` are the bodies that lead from it to the later one; the earlier is a proof of
    the same thread under an earlier checkpoint.
    """

    clew: Literal["proof"] = "proof"
    v: int = FORMAT
    head: HeadProof
    earlier: HeadProof | None = None
    commits: tuple[str, ...] = ()
