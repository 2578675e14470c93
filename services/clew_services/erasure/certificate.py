"""Certificates: the signed statement of what an erasure took, and what is known to remain of it.

A certificate is a signed note, as a checkpoint is, whose text is one line of JSON. The chain of its thread has its
hash, in :class:`~clew_events.events.ErasureCompleted`, so whoever has the chain can tell that it is the one.
"""

from __future__ import annotations

from datetime import datetime
from hashlib import sha256
from typing import Final

import msgspec
from msgspec import Struct

from clew_events.codec import UNREADABLE
from clew_events.erasures import Certificate
from clew_events.errors import Corrupt
from clew_projections.integrity.erasure_extent import Extent
from clew_services.checkpoints.note import SigningKey, VerifierKey, parts

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


def certify(
    extent: Extent,
    *,
    erased_at: datetime,
    completed_at: datetime,
    done: tuple[str, ...],
    remains: tuple[str, ...],
    key: SigningKey,
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
        done=done,
        remains=remains,
    )
    return CertificateNote(certificate, key.sign(_ENCODE(certificate) + b"\n"))


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
