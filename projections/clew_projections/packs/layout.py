"""The layout of a pack: the members' names and contents. A stored format: it never changes incompatibly.

======================  ================================================================================================
``README.txt``          an explanation for people
``pack.json``           :class:`PackHeader`: what was asked for, and up to where each shard was read
``schemas/*.json``      JSON Schemas of commits and events, and of the lines that bodies consist of
``commits/SS/N.jsonl``  bodies of commits of shard ``SS``, byte for byte as stored, each followed by a newline
``commits/SS/N.index``  an :class:`Entry` for each of them, a line each: where it stood, and how long it is
``heads/SS/N.jsonl``    a head for each thread: tenant, thread, ``n`` and hash of its last commit
``erasures.json``       :class:`PackedErasures`: what proves that contents were erased, if any were
``checkpoint.json``     :class:`CheckpointCoverage`: a signed checkpoint, and the proofs of the heads under it
``manifest.json``       :class:`Manifest`: every other member with its place and its hashes
======================  ================================================================================================
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from hashlib import sha256
from typing import Annotated, Final, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from clew_events.codec import UNREADABLE
from clew_events.errors import Corrupt, Invalid
from clew_events.ids import HistoryId, Tenant
from clew_events.subjects import MAX_SHARDS
from clew_projections.integrity.checkpoint import Count, Hash

FORMAT: Final = 1

README: Final = "README.txt"
OPENING: Final = "pack.json"
SCHEMAS: Final = "schemas/"
SCHEMA_NAMES: Final = ("events", "log")
COMMITS: Final = "commits/"
HEADS: Final = "heads/"
ERASURES: Final = "erasures.json"
COVERING: Final = "checkpoint.json"
MANIFEST: Final = "manifest.json"
BODIES: Final = ".jsonl"
INDEX: Final = ".index"

README_TEXT: Final = b"""\
This is an audit pack of Clew: commits as its log held them, byte for byte.

pack.json      what was asked for, and up to where each shard of the log was read
commits/       stored bodies of commits, and beside them an index: sequence, subject and length of each
heads/         the end of each thread's chain: tenant, thread, number and SHA-256 of its last commit
checkpoint.json  a signed checkpoint of the log, if there was one
manifest.json  the SHA-256 of every other file; "whole" is that of the lines "<sha256>  <name>" of all of them

The first line of a body is the commit's record; the others are contents, each sealed in the record by its SHA-256.
Each record names in "prev" the SHA-256 of the record before it. All sums are over a line without its end.
With Clew: clew verify --pack FILE, and clew history | state | diff | blame | replay THREAD --pack FILE.
"""

MEMBER_PATTERN: Final = r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$(?!\n)"
"""Names of files in folders of the pack: none leads out of it, wherever it is unpacked."""

ErasureId = Annotated[str, Meta(pattern=r"^erasure_[A-Za-z0-9_-]{1,64}$(?!\n)")]
"""The id of an erasure: no subject of NATS that it stands in is another."""

T = TypeVar("T", bound=Struct)


class Scope(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a pack is of: one thread, a tenant's threads and its own history, or all.

    With ``since`` or ``until``, only the threads that have a commit between the two, both included; of each of them
    the pack has the whole history nevertheless, since nothing can be folded or checked without what came before.
    """

    tenant: Tenant | None = None
    thread: HistoryId | None = None
    since: datetime | None = None
    until: datetime | None = None

    @property
    def whole(self) -> bool:
        """Whether this is everything that the log holds."""
        return self.tenant is None and not self.windowed

    @property
    def windowed(self) -> bool:
        """Whether only threads with a commit in some time are in it."""
        return self.since is not None or self.until is not None


class Ancestor(Struct, frozen=True, kw_only=True):
    """A thread that the one of a pack was forked from, or a parent of that: its commits up to ``n``, at ``seq``."""

    thread: HistoryId
    n: Annotated[int, Meta(ge=1)]
    seq: Annotated[int, Meta(ge=1)]


class PackHeader(Struct, frozen=True, kw_only=True):
    """What stands at the beginning of a pack.

    ``ends`` has, for each shard, the sequence up to which it was read: commits after these are not in it.
    ``deployment`` tells one log from others, ``fold`` is the number of the fold with which its writer made views.
    ``ancestors`` are in the pack of one thread that is a fork, the nearest first, up to what is inherited of them.
    """

    clew: Literal["pack"] = "pack"
    v: int = FORMAT
    scope: Scope
    deployment: str
    ends: Annotated[tuple[Count, ...], Meta(min_length=1, max_length=MAX_SHARDS)]
    commit_format: int
    fold: int
    checkpoint: int | None = None
    ancestors: tuple[Ancestor, ...] | UnsetType = UNSET

    def may_have(self, tenant: str, thread: str) -> bool:
        """Whether a thread's commits may be in the pack, by its scope and its ancestors."""
        if self.scope.tenant not in {None, tenant}:
            return False
        return self.scope.thread in {None, thread} or any(each.thread == thread for each in self.ancestors or ())

    @property
    def shards(self) -> int:
        """How many shards the log had."""
        return len(self.ends)


class Entry(Struct, frozen=True, omit_defaults=True, gc=False):
    """A commit's place: sequence in its shard, subject, length of the body in bytes; and its ``traceparent``."""

    seq: Annotated[int, Meta(ge=1)]
    subject: str
    size: Count
    traceparent: str | None = None


class CheckpointCoverage(Struct, frozen=True, kw_only=True):
    """A checkpoint that covers a pack, as it was signed, and the public key that its exporter trusts.

    ``beside`` has for each shard what leads from the pack's heads of then to the shard's root; it is not there in a
    pack of everything, which has all heads.
    """

    note: str
    key: str | None = None
    beside: tuple[tuple[tuple[Hash, ...], ...], ...] | None = None


class PackedErasures(Struct, frozen=True, kw_only=True):
    """The erasures that commits in a pack request, by their ids.

    ``certificates`` are the signed ones, and ``under_way`` those that were not completed when the pack was made.
    """

    certificates: dict[ErasureId, str]
    under_way: tuple[ErasureId, ...] = ()


class Member(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A file in a pack: its ``size`` and hash; and where its frame begins, how long that is, and the frame's hash.

    A member with commits names its ``shard``, the ``first`` and ``last`` sequence in it, and how many there are.
    """

    name: Annotated[str, Meta(pattern=MEMBER_PATTERN)]
    size: Count
    sha256: Hash
    offset: Count
    packed: Count
    packed_sha256: Hash
    shard: int | None = None
    first: int | None = None
    last: int | None = None
    commits: int | None = None


class ErasedContents(Struct, frozen=True, kw_only=True):
    """What was erased in a pack when it was made: how many contents, of how many commits.

    ``erasures`` are those that commits in it request, ``under_way`` how many of them were not completed.
    """

    erasures: int = 0
    under_way: int = 0
    commits: int = 0
    contents: int = 0


class Manifest(Struct, frozen=True, kw_only=True):
    """All members but itself, in their order.

    ``misfits`` counts messages that continue no thread's chain; ``whole`` is the SHA-256 of a line for each member, its
    hash, two spaces and its name, as ``sha256sum`` writes them. ``erased`` is left out where nothing was erased.
    ``missing`` are threads that forks in a pack of a part were forked from, and that are not in it: what was inherited
    of them cannot be shown.
    """

    v: int = FORMAT
    threads: int
    commits: int
    misfits: int
    members: tuple[Member, ...]
    whole: Hash
    erased: ErasedContents | UnsetType = UNSET
    missing: tuple[HistoryId, ...] | UnsetType = UNSET


def whole_of(members: Iterable[Member]) -> str:
    """Return the hash over all members."""
    return sha256("".join(f"{each.sha256}  {each.name}\n" for each in members).encode()).hexdigest()


def commits_name(shard: int, number: int) -> str:
    """Return the name of a segment of a shard, without its extension."""
    return f"{COMMITS}{shard:02d}/{number:06d}"


def heads_name(shard: int, number: int) -> str:
    """Return the name of a part of a shard's heads."""
    return f"{HEADS}{shard:02d}/{number:06d}{BODIES}"


def as_json(document: Struct) -> bytes:
    """Encode a document for its file."""
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def read(raw: bytes, form: type[T], what: str) -> T:
    """Decode a document from its file.

    Raises:
        Invalid: a newer Clew wrote it.
        Corrupt: it is not such a document.
    """
    try:
        version = msgspec.json.decode(raw, type=dict[str, object]).get("v", FORMAT)
        if version != FORMAT:
            raise Invalid(
                f"this pack has format {version!r}, and this Clew knows {FORMAT}: read it with a newer Clew",
                code="unknown_format",
            )
        return msgspec.json.decode(raw, type=form)
    except UNREADABLE as fault:
        raise altered_pack(f"{what} cannot be read: {fault}") from fault


def altered_pack(what: str) -> Corrupt:
    """Return the error for a pack that was altered or damaged."""
    return Corrupt(f"this pack was altered or damaged: {what}", code="altered_pack")


def truncated_pack(what: str) -> Corrupt:
    """Return the error for a pack without an end."""
    return Corrupt(f"this pack is cut short: {what}. Take another copy, or export it again", code="truncated_pack")


def not_a_pack(file: str) -> Invalid:
    """Return the error for a file that is not a pack."""
    return Invalid(f"{file} is not an audit pack: 'clew export' writes these", code="not_a_pack")
