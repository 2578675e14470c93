"""Certificates: the signed statement of what an erasure took, and what is known to remain of it.

A certificate is a signed note, as a checkpoint is, whose text is one line of JSON. The chain of its thread has its
hash, in :class:`~clew_events.events.ErasureCompleted`, so whoever has the chain can tell that it is the one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Final

import msgspec
from msgspec import Struct

from clew_events.codec import UNREADABLE
from clew_events.erasures import Certificate
from clew_events.errors import Corrupt
from clew_projections.indexer.machines import SILENT, Machine
from clew_projections.integrity.erasure_extent import Extent
from clew_services.checkpoints.note import SigningKey, VerifierKey, parts
from clew_services.erasure.copy_records import CopyRecord, name_copies

_ENCODE: Final = msgspec.json.Encoder().encode
_DECODE: Final = msgspec.json.Decoder(Certificate).decode


class CertificateNote(Struct, frozen=True):
    """A certificate and the note that it is signed in."""

    certificate: Certificate
    note: bytes

    @property
    def hash(self) -> str:
        """The SHA-256 of the note, in hex: what the thread's chain has."""
        return sha256(self.note).hexdigest()


class Knowledge(Struct, frozen=True, kw_only=True):
    """What is known at the end of an erasure beside what it took of the log.

    ``left`` is what could not be overwritten, and ``rejected`` how many records of rejected commands went. Of the
    ``machines`` with an index, ``late`` ones may have a copy. ``copies`` are the backups and packs on record.
    ``encrypted`` if JetStream encrypts its files, and so overwrites nothing; ``replicated`` if it is a cluster.
    """

    left: tuple[str, ...] = ()
    rejected: int = 0
    machines: int = 0
    late: Sequence[Machine] = ()
    copies: Sequence[CopyRecord] = ()
    encrypted: bool = False
    replicated: bool = False


def certify(
    extent: Extent, known: Knowledge, *, erased_at: datetime, completed_at: datetime, key: SigningKey
) -> CertificateNote:
    """Sign that an erasure was done."""
    commit, request, taken = extent.requested.commit, extent.request, extent.taken
    certificate = Certificate(
        erasure=request.erasure,
        tenant=commit.tenant,
        thread=commit.thread,
        items=request.items,
        code=request.code,
        n=commit.n,
        hash=extent.requested.hash,
        first=taken.first,
        last=taken.last,
        commits=taken.commits,
        contents=taken.contents,
        seals=taken.seals,
        requested_at=commit.at,
        erased_at=erased_at,
        completed_at=completed_at,
        done=_done(extent, known),
        remains=tuple(_remains(extent, known, erased_at)),
    )
    return CertificateNote(certificate, key.sign(_ENCODE(certificate) + b"\n"))


def _done(extent: Extent, known: Knowledge) -> tuple[str, ...]:
    taken, but = extent.taken, ", but for what remains of them" if known.left else ""
    gone = "removed" if known.encrypted else "overwritten, or removed with their blocks,"
    return (
        f"contents {gone} in the log: {taken.contents}, of commits: {taken.commits}{but}",
        f"records of rejected commands {'removed' if known.encrypted else 'overwritten'}: {known.rejected}",
        f"indexes of machines made anew: {known.machines - len(known.late)}, and the snapshots of them removed",
        "buckets of views made anew",
        "no file is left of the inbox as it was",
    )


def _remains(extent: Extent, known: Knowledge, erased_at: datetime) -> Iterator[str]:
    yield from known.left
    for each in known.late:
        yield (
            f"the index of {each.host} in {each.folder}: it did not report for {SILENT} and may have a copy until it "
            "does"
        )
    if known.encrypted:
        yield "JetStream encrypts its files, and so overwrote nothing: freed blocks, encrypted"
    if known.replicated:
        yield "the Raft logs of the replicas, for some minutes after each step"
        # nats-server (2.15.1) deletes without overwriting what it learns of from a snapshot of a stream.
        yield "blocks of the log of a server that was down meanwhile, until it writes them anew"
    yield from name_copies(known.copies, extent, erased_at)
    yield "backups, audit packs, exports and mirrors that were made before, whether they are named or not"


def read_certificate(note: bytes, key: VerifierKey | None = None) -> CertificateNote:
    """Read a signed certificate, and verify its signature if a key is given.

    Raises:
        Corrupt: it is none, was altered, or is signed with another key.
    """
    text = key.text(note) if key is not None else parts(note)[0]
    try:
        return CertificateNote(_DECODE(text), note)
    except UNREADABLE as fault:
        raise Corrupt(f"this is no certificate of an erasure: {fault}", code="unreadable_certificate") from fault
