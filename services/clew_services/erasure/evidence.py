"""What a deployment knows of an erasure beside its chain: the certificate, and the record of how far it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from clew_events.codec import UNREADABLE
from clew_events.erasures import Erasure
from clew_events.errors import Corrupt
from clew_events.subjects import ERASED_STREAM, certificate_subject, erasure_subject
from clew_projections.integrity.erasure_check import Evidence
from clew_projections.nats.jetstream import JetStream
from clew_projections.packs.layout import PackedErasures
from clew_services.checkpoints.note import VerifierKey, parts
from clew_services.erasure.certificate import read_certificate

_DECODER: Final = msgspec.json.Decoder(Erasure)


class StoredEvidence:
    """Reads evidence of a deployment. Signatures are verified if there are ``keys``, by their ids."""

    def __init__(self, js: JetStream, keys: Mapping[str, VerifierKey]) -> None:
        self._js = js
        self._keys = keys

    async def read(self, tenant: str, erasures: Iterable[str]) -> dict[str, Evidence]:
        """Read the evidence of erasures of a tenant, by their ids.

        Raises:
            Unavailable: JetStream does not answer.
        """
        return {erasure: await self._one(tenant, erasure) for erasure in erasures}

    async def read_packed(self, erasures: Mapping[str, str]) -> PackedErasures:
        """Read what a pack has of erasures. ``erasures`` has the tenant of each, by its id.

        Raises:
            Unavailable: JetStream does not answer.
        """
        certificates: dict[str, str] = {}
        under_way: list[str] = []
        for erasure, tenant in sorted(erasures.items()):
            note, is_under_way = await self._stored(tenant, erasure)
            certificates |= {erasure: note.decode(errors="replace")} if note is not None else {}
            under_way += [erasure] if is_under_way else []
        return PackedErasures(certificates=certificates, under_way=tuple(under_way))

    async def _one(self, tenant: str, erasure: str) -> Evidence:
        note, under_way = await self._stored(tenant, erasure)
        if note is None:
            return Evidence(under_way=under_way)
        return evidence_in(note, self._keys, under_way=under_way)

    async def _stored(self, tenant: str, erasure: str) -> tuple[bytes | None, bool]:
        """Read the certificate of an erasure, and whether that is under way."""
        record = await self._js.newest_at_leader(ERASED_STREAM, erasure_subject(tenant, erasure), 0)
        note = await self._js.newest_at_leader(ERASED_STREAM, certificate_subject(erasure), 0)
        return note.body if note is not None else None, record is not None and _is_under_way(record.body)


def evidence_in(note: bytes, keys: Mapping[str, VerifierKey], *, under_way: bool = False) -> Evidence:
    """Return a signed certificate as evidence, with what is wrong with it."""
    try:
        signers = [key_id for key_id, _ in parts(note)[1]]
        key = next((keys[key_id] for key_id in signers if key_id in keys), None)
        if keys and key is None:
            fault = f"it is signed with {', '.join(signers)}, and not with a key that was given"
            return Evidence(under_way=under_way, fault=fault)
        found = read_certificate(note, key)
    except Corrupt as unusable:
        return Evidence(under_way=under_way, fault=unusable.message)
    return Evidence(found.certificate, found.hash, under_way)


def _is_under_way(body: bytes) -> bool:
    try:
        return _DECODER.decode(body).status in {"requested", "erased"}
    except UNREADABLE:
        return False
