"""A file of the erasures that a deployment knows, for copies of its log elsewhere. A stored format.

It is lines of JSON: a header, a line for each erasure in the order in which they were requested, and at the end their
number and the SHA-256 of all lines before, line feeds included. It has no content that was erased, but ids and codes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime
from hashlib import sha256
from pathlib import Path
from typing import Final, Literal

import msgspec
from msgspec import Struct

from clew_events import ids
from clew_events.checkpoint_messages import Hash
from clew_events.codec import UNREADABLE
from clew_events.erasures import Erasure
from clew_events.errors import Corrupt, Invalid
from clew_events.ids import Tenant
from clew_events.subjects import Address
from clew_projections.atomic_file import create_file
from clew_projections.history.histories import Histories
from clew_projections.history.pending_erasures import ErasureRecord
from clew_services.checkpoints.note import VerifierKey
from clew_services.erasure.certificate import read_certificate
from clew_services.erasure.records import ErasureRecords

FORMAT: Final = 1
AT_ONCE: Final = 32
"""Erasures that are read at a time."""


class KnownErasure(Struct, frozen=True, kw_only=True):
    """An erasure of a tenant, as it was when the file was made, and its signed certificate, if it had one.

    ``began`` is the SHA-256 of the record of the thread's first commit: it tells the thread from others with its id.
    """

    tenant: Tenant
    began: Hash
    erasure: Erasure
    certificate: str | None = None

    @property
    def address(self) -> Address:
        """The thread."""
        return Address(self.tenant, self.erasure.thread_id)


class ErasuresHeader(Struct, frozen=True, kw_only=True):
    """The first line. ``deployment`` is the identity of the deployment, as its packs and backups have it."""

    clew: Literal["erasures"] = "erasures"
    v: int = FORMAT
    deployment: str
    made_at: datetime


class KnownErasures(Struct, frozen=True):
    """What a file says, or what a running deployment knows."""

    header: ErasuresHeader
    erasures: tuple[KnownErasure, ...]


class _End(Struct, frozen=True, kw_only=True):
    erasures: int
    sha256: Hash


class _Any(Struct):
    clew: str = ""
    v: int = 0


_ENCODE: Final = msgspec.json.Encoder().encode
_LINE: Final = msgspec.json.Decoder(KnownErasure).decode


async def collect(
    records: ErasureRecords,
    histories: Histories,
    *,
    deployment: str,
    made_at: datetime,
    progress: Callable[[int], None] = lambda _: None,
) -> KnownErasures:
    """Read the erasures of all tenants of a deployment that were requested, whether they are completed or not.

    Raises:
        Corrupt: a record or a certificate cannot be read.
        Unavailable: JetStream does not answer.
    """

    async def known(record: ErasureRecord) -> KnownErasure:
        erasure = record.erasure
        signed = await records.certificate(erasure.id) if erasure.status == "completed" else None
        return KnownErasure(
            tenant=record.tenant,
            began=(await histories.first(Address(record.tenant, erasure.thread_id))).hash,
            erasure=erasure,
            certificate=signed.note.decode() if signed is not None else None,
        )

    found: list[KnownErasure] = []
    requested = [record for record in await records.all() if record.erasure.n is not None]
    for start in range(0, len(requested), AT_ONCE):
        found += await asyncio.gather(*map(known, requested[start : start + AT_ONCE]))
        progress(len(found) - start)
    return KnownErasures(ErasuresHeader(deployment=deployment, made_at=made_at), tuple(found))


def write(known: KnownErasures, file: Path) -> None:
    """Write a new file, whole or not at all.

    Raises:
        Invalid: it exists, or cannot be written.
    """
    lines = b"".join(_ENCODE(each) + b"\n" for each in (known.header, *known.erasures))
    end = _End(erasures=len(known.erasures), sha256=sha256(lines).hexdigest())
    create_file(file, lines + _ENCODE(end) + b"\n")


def read(file: Path, key: VerifierKey | None = None) -> KnownErasures:
    """Read a file, and check that it is whole and that its certificates are of its erasures.

    With a ``key``, every certificate must be signed with it.

    Raises:
        Invalid: it is no file of erasures, or one of a newer version, or unreadable.
        Corrupt: it was cut off or altered, or a certificate is signed with another key.
    """
    try:
        *lines, last = file.read_bytes().splitlines(keepends=True) or [b""]
    except OSError as fault:
        raise Invalid(f"{file} cannot be read: {fault.strerror}", code="unreadable_file") from fault
    try:
        first = msgspec.json.decode((*lines, last)[0], type=_Any)
    except UNREADABLE:
        first = _Any()
    if first.clew != "erasures":
        raise Invalid(f"{file} is no file of erasures: 'clew erasures export' writes these", code="not_erasures")
    if first.v != FORMAT:
        raise Invalid(
            f"{file} has format {first.v}, and this Clew knows {FORMAT}: use the version that wrote it",
            code="unknown_format",
        )
    try:
        end = msgspec.json.decode(last, type=_End)
    except UNREADABLE as fault:
        raise Corrupt(f"{file} was cut off: its end is missing. Export it again", code="altered_erasures") from fault
    if end != _End(erasures=len(lines) - 1, sha256=sha256(b"".join(lines)).hexdigest()):
        raise Corrupt(f"{file} was altered: its SHA-256 is another. Export it again", code="altered_erasures")
    try:
        header = msgspec.json.decode(lines[0], type=ErasuresHeader)
        known = KnownErasures(header, tuple(map(_LINE, lines[1:])))
    except UNREADABLE as fault:
        raise Corrupt(f"{file} cannot be read: {fault}", code="altered_erasures") from fault
    for each in known.erasures:
        _check(each, key)
    return known


def _check(known: KnownErasure, key: VerifierKey | None) -> None:
    erasure = known.erasure
    message = erasure.message_id is None or ids.is_item_id(erasure.message_id)
    if not (ids.is_erasure_id(erasure.id) and ids.is_thread_id(erasure.thread_id) and message):
        raise Corrupt(f"it names {erasure.id[:100]!r}, which cannot be an erasure of Clew", code="altered_erasures")
    if known.certificate is None:
        return
    found = read_certificate(known.certificate.encode(), key)
    said = found.certificate
    if (said.erasure, said.tenant, said.thread, said.items, found.hash) != (
        *(erasure.id, known.tenant, erasure.thread_id, erasure.request.items),
        erasure.certificate,
    ):
        raise Corrupt(f"the certificate beside '{erasure.id}' is of another erasure", code="wrong_certificate")
