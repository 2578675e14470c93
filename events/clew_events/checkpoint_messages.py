"""Signed checkpoints and inclusion proofs as they are sent, and the queries for them."""

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
    """A page of the log's signed checkpoints, newest first, from the newest or ``after`` the one of a number."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    after: Number | None = None


class GetCheckpoint(Request, frozen=True, kw_only=True):
    """A signed checkpoint by its number, or the latest."""

    number: Number | None = None


class GetProof(Request, frozen=True, kw_only=True):
    """The inclusion proof of a thread's head under the latest signed checkpoint; without one, of the tenant's own."""

    thread_id: ThreadId | None = None


class Head(Struct, frozen=True, array_like=True):
    """The head of a thread's chain: the number of its last commit, and the hash of that commit's body."""

    tenant: str
    thread: str
    n: int
    hash: str

    @property
    def address(self) -> Address:
        """The thread's tenant and id."""
        return Address(self.tenant, self.thread)


class ShardHeads(Struct, frozen=True, kw_only=True):
    """A shard of the log up to sequence ``seq`` of its stream.

    ``root`` is the Merkle root over the heads of its threads, and of tenants' own histories if it has these.
    ``threads`` is the number of these heads, ``commits`` that of its commits, and ``misfits`` that of the messages that
    continue no chain.
    """

    seq: Count
    threads: Count
    commits: Count
    misfits: Count
    root: Hash


class SignedCheckpoint(Struct, frozen=True, kw_only=True):
    """A checkpoint. ``note`` is the signed text with its signatures, ``keys`` made those, ``hash`` is its SHA-256.

    The signatures are not verified here; that takes the public key.
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
    """A page of checkpoints, newest first. The ``number`` of the last is the ``after`` of the next page."""

    object: Literal["list"] = "list"
    data: tuple[SignedCheckpoint, ...]
    has_more: bool


class HeadProof(Struct, frozen=True, kw_only=True):
    """An inclusion proof: a signed checkpoint, a thread's head, and the Merkle path from it to its shard's root.

    ``path`` begins at the leaf. The guide to proofs specifies the hashes.
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
    """The inclusion proof of a thread's head, in the form in which it is kept. Verifying it takes the public key.

    ``earlier`` is a proof of the same thread under an earlier checkpoint; ``commits`` are then the stored bodies of the
    commits after its head, up to the later head, and ``certificates`` are those of the thread's erasures.
    """

    clew: Literal["proof"] = "proof"
    v: int = FORMAT
    head: HeadProof
    earlier: HeadProof | None = None
    commits: tuple[str, ...] = ()
    certificates: tuple[str, ...] = ()
